import subprocess
import sys


def test_data_preparation_starts_without_torch_and_matplotlib():
    slow = {"torch", "matplotlib", "nerfstudio"}
    code = f"import sys, nerfblendshape_ns.scripts.process_data; print(sorted({slow} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
