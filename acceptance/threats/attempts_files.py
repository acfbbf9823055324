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
]
