"""Code to start from."""

EXAMPLES: dict[str, str] = {
    "Live output": """\
import time

for step in range(1, 6):
    print(f"step {step} of 5")
    time.sleep(0.5)

"finished"
""",
    "Plot": """\
import math

import matplotlib.pyplot as plt

xs = [x / 20 for x in range(200)]
figure, axes = plt.subplots(figsize=(7, 3.2))
for shift in range(4):
    print(f"wave {shift + 1} of 4")
    ys = [math.sin(x + shift) * math.exp(-x / 6) for x in xs]
    axes.plot(xs, ys, label=f"shift {shift}")
axes.set_title("Damped waves")
axes.legend()
plt.show()
""",
    "Table": """\
import pandas as pd

pd.DataFrame(
    {
        "city": ["Brussels", "Lisbon", "Oslo", "Vienna"],
        "people": [1_250_000, 545_000, 717_000, 2_005_000],
        "river": ["Senne", "Tagus", "Akerselva", "Danube"],
    }
)
""",
    "Ask": """\
name = input("What is your name? ")
print(f"Hello {name}!")
""",
    "Files": """\
from pathlib import Path

Path("notes.txt").write_text("kept in the sandbox, see the Files tab\\n")
sorted(path.name for path in Path(".").iterdir())
""",
    "Stop me": """\
import itertools
import time

for number in itertools.count():
    print(number, end=" ", flush=True)
    time.sleep(0.05)
""",
}
