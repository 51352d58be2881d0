"""A part of the run dies: a worker thread, a thread that cannot start, memory that is not given, the interpreter itself."""

from __future__ import annotations

import signal

from torture.reference import PLAIN
from torture.trial import Kind, Trial

THREAD = """
import ctypes, random, threading, time
def _strike():
    dice = random.Random({seed})
    time.sleep(dice.uniform(0, {seconds}))
    for _ in range(200):
        chosen = [each for each in threading.enumerate() if each not in (threading.main_thread(), threading.current_thread())]
        if chosen:
            error = dice.choice([MemoryError, SystemExit, OSError, RecursionError])
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(dice.choice(chosen).ident), ctypes.py_object(error))
            return
        time.sleep(0.005)
threading.Thread(target=_strike, daemon=True).start()
"""
NO_THREAD = """
import threading
_start, _left = threading.Thread.start, [{left}]
def _refuse(self):
    _left[0] -= 1
    if _left[0] == 0:
        raise RuntimeError("can't start new thread")
    _start(self)
threading.Thread.start = _refuse
"""
MEMORY = "import resource\nresource.setrlimit(resource.RLIMIT_AS, ({0}, {0}))"
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE)


def attempt(trial: Trial) -> None:
    """Whatever dies, the run must end by itself: it never waits for what will not come. It may end in a traceback."""
    way = trial.dice.choice(["thread", "thread", "thread", "no thread", "memory", "crash"])
    if way == "thread":
        seed = trial.dice.randrange(1 << 30)
        run = trial.start(prelude=THREAD.format(seed=seed, seconds=trial.reference.seconds / 2))
    elif way == "no thread":
        run = trial.start(prelude=NO_THREAD.format(left=trial.dice.randint(1, 4)))
    elif way == "memory":
        run = trial.start(prelude=MEMORY.format(trial.dice.randint(150, 900) << 20))
    else:
        run = trial.start()
        if trial.moment(run):
            run.strike(trial.dice.choice(CRASHES))
    ended = run.wait()
    trial.faults += 1
    trial.notes[f"{way}, ended with {ended.code}"] += 1
    trial.assert_sound()
    trial.finish(PLAIN)


KINDS = (Kind("dying", "a worker thread, memory or the interpreter dies", attempt, share=2),)
