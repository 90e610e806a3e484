"""One service for all tests of this folder."""

import numpy as np
import pytest

LIMITS = {"max_bytes": 50_000, "max_pixels": 90_000, "max_seconds": 3, "upload_seconds": 1, "max_requests": 3}


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
    from ppsr.serve.limits import Limits
    from tests.serve.helpers import served

    with served(tmp_path_factory.mktemp("site"), Limits(**LIMITS, max_output_pixels=2_500_000)) as found:
        yield found


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (20, 26, 3), dtype=np.uint8)
