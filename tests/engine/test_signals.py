"""Requests to stop: what several ranks agree on."""

import signal
import threading

from ppsr.engine.distributed import Group
from ppsr.engine.signals import Stopped, StopRequest
from tests.engine.helpers import Rank


def test_several_ranks_stop_a_validation_between_images():
    stop = StopRequest()
    barrier, values = threading.Barrier(2), {}
    groups = [Rank(rank, 2, barrier, values) for rank in range(2)]
    stops = [stop, StopRequest()]
    stops[1].signal = int(signal.SIGTERM)
    outcome = {}

    def work(rank):
        try:
            with stops[rank].interrupting(groups[rank]):
                stops[rank].check(groups[rank])
        except Stopped:
            outcome[rank] = stops[rank].signal

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outcome == dict.fromkeys((0, 1), signal.SIGTERM)


def test_a_signal_during_the_agreement_is_not_lost():
    stop = StopRequest()

    class Slow(Group):
        def sum(self, values):
            stop._handle(signal.SIGTERM, None)
            stop._handle(signal.SIGUSR1, None)
            return list(values)

    assert stop.agree(Slow()) == (False, False)
    assert stop.agree(Group()) == (True, True)
    assert (stop.signal, stop.save) == (signal.SIGTERM, False)
