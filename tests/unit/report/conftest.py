"""A finished session that the tests of a report look at."""

import pytest

from helpers import report_records as sample
from ratchet.report.facts import build_facts


@pytest.fixture(scope="module")
def records():
    return sample.session()


@pytest.fixture(scope="module")
def facts(records):
    return build_facts(records)
