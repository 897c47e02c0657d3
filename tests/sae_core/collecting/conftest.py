import pytest

from sae_core.collecting import histogram, kept, looking_up, spill, together, weights


@pytest.fixture
def in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is done piece by piece comes to its second piece with small texts too."""
    monkeypatch.setattr(kept, "PENDING", 50)
    monkeypatch.setattr(histogram, "PENDING", 50)
    monkeypatch.setattr(spill, "SCANNED", 50)
    monkeypatch.setattr(looking_up, "LATENTS", 7)
    monkeypatch.setattr(looking_up, "TABLE", 7)
    monkeypatch.setattr(together, "BLOCK", 50)
    monkeypatch.setattr(together, "OFTEN", 40)
    monkeypatch.setattr(weights, "BLOCK_BYTES", 1000)
