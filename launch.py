"""Train, sample, score and report: `python launch.py --config=configs/mnist.py --workdir=runs/mnist --mode=run`."""

from sgm_jax.launch import start

if __name__ == "__main__":
    start()
