"""Stand-ins for coding agents: a script that does, at each call, what a list says."""

import json
from typing import Any

from helpers.boxes import Box

# It runs without site packages, and keeps its count outside its folder.
SCRIPT = """
import json, os, pathlib, re, subprocess, sys, time

home = pathlib.Path(sys.argv[1])
prompt = sys.stdin.read()
calls = home / "calls.jsonl"
number = len(calls.read_text().splitlines()) if calls.exists() else 0
seen = sorted(str(p) for p in pathlib.Path().rglob("*") if ".git" not in p.parts and p.is_file())
line = {"prompt": prompt, "seen": seen, "cwd": os.getcwd(), "pid": os.getpid()}
line["ratchet"] = sorted(name for name in os.environ if name.startswith("RATCHET_"))
texts = [n for n in seen if n.endswith((".md", ".tsv", ".log", ".diff", ".json", ".py"))]
line["texts"] = {n: pathlib.Path(n).read_text() for n in texts}
with calls.open("a") as stream:
    stream.write(json.dumps(line) + "\\n")
plan = json.loads((home / "plan.json").read_text())
if "{by_round}" == "True":
    number = int(re.search(r"this is round (\\d+)", prompt)[1]) - 1
proposal = {"hypothesis": "it may help", "description": "an edit", "category": "other",
            "expected_effect": 0.01}
for verb, *words in plan[number] if number < len(plan) else []:
    if verb == "set":
        text = pathlib.Path("train.py").read_text()
        name, value = words
        text = re.sub(rf"(?m)^{name} = .*$", f"{name} = {value!r}", text)
        pathlib.Path("train.py").write_text(text)
        proposal["description"] = f"{name} to {value}"
    elif verb == "replace":
        text = pathlib.Path("train.py").read_text()
        assert words[0] in text
        pathlib.Path("train.py").write_text(text.replace(*words))
    elif verb == "write":
        pathlib.Path(words[0]).unlink(missing_ok=True)
        pathlib.Path(words[0]).write_text(words[1])
    elif verb == "link":
        pathlib.Path(words[0]).unlink(missing_ok=True)
        os.symlink(words[1], words[0])
    elif verb == "propose":
        said = {**proposal, **(words[0] if words else {})}
        pathlib.Path("proposal.json").write_text(json.dumps(said))
    elif verb == "print":
        print(words[0])
    elif verb == "flood":
        for _ in range(words[0]):
            print("x" * 100_000)
    elif verb == "daemon":
        child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        (home / "daemon").write_text(str(child.pid))
    elif verb == "sleep":
        sys.stdout.flush()
        time.sleep(words[0])
    elif verb == "exit":
        sys.exit(words[0])
    else:
        raise SystemExit(f"unknown {verb}")
"""

Step = list[list[Any]]


def hire(box: Box, *plan: Step, by_round: bool = False, **settings: object) -> None:
    """Let a scripted agent propose in a box: one step of the plan for each call, or round."""
    home = box.path / "agent"
    home.mkdir(exist_ok=True)
    (home / "agent.py").write_text(SCRIPT.replace("{by_round}", str(by_round)))
    (home / "plan.json").write_text(json.dumps(plan))
    command = ["python", "-S", "{root}/agent/agent.py", "{root}/agent"]
    # Not by YAML's own quoting: a box may lie in a folder with any name.
    box.settings = {
        **box.settings,
        "proposer": "custom",
        "agent_command": json.dumps(command),
        **settings,
    }


def good(name: str, value: object, **said: object) -> Step:
    """A step that sets a constant and says so."""
    return [["set", name, value], ["propose", dict(said)]]


def asked(box: Box) -> list[dict[str, Any]]:
    """What the agent saw at each of its calls."""
    path = box.path / "agent" / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def calls(box: Box) -> list[dict[str, Any]]:
    """The recorded calls of all rounds, each with its round."""
    found = []
    for path in sorted((box.session / "rounds").glob("*/proposals.json")):
        made = json.loads(path.read_text())
        found += [{"round": made["round"], **call} for call in made["calls"]]
    return found
