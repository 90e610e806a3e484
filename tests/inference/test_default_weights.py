"""What is taken where no weights are given."""

from __future__ import annotations

from ppsr.errors import WeightError
from ppsr.inference import network
from ppsr.inference.network_info import network_info


def test_shipped_weights_are_the_default_where_no_others_can_be_had(monkeypatch, caplog):
    def refuse(entry, **options):
        raise WeightError(f"{entry.name} cannot be downloaded")

    monkeypatch.setattr(network, "get_entry", refuse)
    with caplog.at_level("WARNING", "ppsr"):
        net = network.load_source(None, [], None)
    assert network_info(net).network == "SRVGGNetCompact"
    assert "cannot be downloaded" in caplog.text and network.SHIPPED_WEIGHTS in caplog.text
