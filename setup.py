"""What pyproject.toml cannot say: a PyTorch that is installed stays.

timm needs torchvision, and each torchvision needs one release of PyTorch. Where torchvision is missing, pip takes its
newest release, and replaces the PyTorch that is there, perhaps one for the CPU, by several gigabytes for CUDA. So the
release of torchvision that belongs to the PyTorch of this environment is asked for instead. A wheel that is built
elsewhere asks for none.
"""

import re
import sysconfig
from importlib.metadata import distributions

from setuptools import setup
from setuptools.command.egg_info import egg_info


def matching_torchvision(folders):
    """The requirement for a torchvision beside the PyTorch in some folders; None where there is nothing to keep.

    PyTorch 2.N.P and torchvision 0.(N + 15).P have been released together since 2.0.
    """
    installed = {str(found.metadata["Name"]).lower(): found.version for found in distributions(path=folders)}
    release = re.match(r"2\.(\d+)\.(\d+)", installed.get("torch", ""))
    if release is None or "torchvision" in installed:
        return None
    minor, patch = int(release[1]) + 15, release[2]
    return f"torchvision>=0.{minor}.0,<=0.{minor}.{patch}"


class EggInfo(egg_info):
    """Writes the package's requirements, with the one above."""

    def finalize_options(self):
        """Add it, once."""
        super().finalize_options()
        # The paths of the environment that is installed into; the building itself has one of its own.
        found = matching_torchvision([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        if found and found not in self.distribution.install_requires:
            self.distribution.install_requires.append(found)


if __name__ == "__main__":
    setup(cmdclass={"egg_info": EggInfo})
