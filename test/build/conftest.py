import pytest
from fetchlib import Fetch


@pytest.fixture
def fetch(tmp_path):
    return Fetch(tmp_path)
