"""What importing the library costs and promises."""

import subprocess
import sys


def test_import_loads_nothing_heavy():
    script = (
        "import sys, sgm_jax; "
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'matplotlib', 'sklearn', 'mlxtend', 'PIL', 'torch', "
        "'grain', 'orbax', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_rooms_are_found_by_name():
    import sgm_jax

    assert sgm_jax.networks.UNet and sgm_jax.inverse.inpaint and "data" in dir(sgm_jax)
