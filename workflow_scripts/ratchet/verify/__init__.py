"""Re-hash everything that a session rests on, and name every deviation.

Read-only: nothing is set aside, mended or made again here.
"""

from ratchet.verify.finding import Deviation as Deviation
from ratchet.verify.finding import Findings as Findings
from ratchet.verify.whole import sessions as sessions
from ratchet.verify.whole import verify as verify
