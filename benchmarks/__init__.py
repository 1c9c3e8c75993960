"""What things cost: time, memory and arithmetic.

`python -m benchmarks.run` measures everything, `python -m benchmarks.memory` says what fits a
device. The other scripts each answer a question of their own.
"""
