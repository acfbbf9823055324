"""Files that policy holds back, by way of what may be done to them."""
from case import Attempt, left

ATTEMPTS = [
    Attempt(30, "a file cut short until nothing is found in it", "T1005", """
show(W + "/cards.csv")
for size in (52, 50, 40):
    try:
        os.truncate(W + "/cards.csv", size)
    except OSError as e:
        print("no:", size, e)
    show(W + "/cards.csv")
""", rule="personal_data", alert=False),
    Attempt(30, "a file moved out of the rule that protects it", "", """
try:
    os.rename(W + "/.env", W + "/colours.txt")
except OSError as e:
    print("no:", e)
""", effect=left("colours.txt"), rule="leaves_protection"),
    Attempt(30, "a protected file with one more name, when its own name has changed", "", """
try:
    os.link(W + "/.env", W + "/colours.txt")
    os.rename(W + "/.env", W + "/.env.local")
except OSError as e:
    print("no:", e)
""", effect=left("colours.txt"), rule="leaves_protection"),
    Attempt(30, "a protected file that changes over with another one", "", """
import ctypes
open(W + "/colours.txt", "w").write("red")
done = ctypes.CDLL(None, use_errno=True).renameat2(-100, (W + "/.env").encode(), -100, (W + "/colours.txt").encode(), 2)
print("changed over:", done)
""", effect=lambda outcome: "red" not in ((outcome.world.workspace / "colours.txt").read_text() if (outcome.world.workspace / "colours.txt").exists() else "red"),
            rule="leaves_protection"),
    Attempt(30, "a file whose name makes a likely secret count gets a name that does not", "", """
try:
    os.rename(W + "/talk.key", W + "/packages.txt")
except OSError as e:
    print("no:", e)
""", effect=left("packages.txt"), rule="leaves_protection"),
]
