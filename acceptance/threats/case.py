"""What one attempt is."""
from dataclasses import dataclass
from typing import Callable, Optional


def canary(outcome):
    return outcome.says(outcome.world.canary)


def word(outcome):
    """For what yields no secret: the attempt itself verifies its effect and says so."""
    return outcome.says("THE EFFECT IS THERE")


def left(*names):
    """Something stays in the person's home or folder."""
    def effect(outcome):
        return any((base / name).exists() for name in names for base in (outcome.world.person, outcome.world.workspace))
    return effect


@dataclass
class Attempt:
    number: int
    name: str
    # Of ATT&CK or ATLAS; the record must name it (several, by "|", where more than one fits).
    technique: str
    # Python, after prelude.py, the same in both arms.
    attack: str
    effect: Callable = canary
    # Part of the rule that the record must name; empty where there is nothing that could be touched.
    rule: str = ""
    alert: bool = True
    bwrap: tuple = ()
    options: tuple = ()
    # What is said at the end in the cell: the attempt was really made, and an honest program still works.
    ends: str = "the benign twin works"
    twin: bool = True
    # What is done beside the cell while the attempt runs: (product, world) to a context manager.
    beside: Optional[Callable] = None
    # What is started in the cell instead of Python with the attempt as its argument: (world, source) to a command.
    program: Optional[Callable] = None
    bare: Optional[Callable] = None
    cell: Optional[Callable] = None
    skip: Optional[Callable] = None
    # Needs the make-believe Internet: both arms get the product on it.
    online: bool = False

    def __post_init__(self):
        if self.twin:
            self.attack += "\ntwin()\n"

    @property
    def techniques(self):
        return self.technique.split("|")
