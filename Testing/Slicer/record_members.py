"""What Python sees of Qt's classes in Slicer itself, for the stand-in to be compared with.

`Slicer --python-script Testing/Slicer/record_members.py` writes Testing/Python/host/members.json: for each class of
`qt` and `ctk` that the extension makes an object of, and each name that it takes from any object, whether that is a
property, a signal, or something to be called. What a class does not have is left out.
"""

from __future__ import annotations

import ast
import json
import traceback
from pathlib import Path

import ctk
import qt
import slicer

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "Testing" / "Python" / "host" / "members.json"


def used():
    """Classes (module, name) that the extension makes objects of without arguments, and names of attributes."""
    classes, names = set(), set()
    for path in sorted((ROOT / "EfficientMedSAM2").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
                if isinstance(node.value, ast.Name) and node.value.id in ("qt", "ctk"):
                    classes.add((node.value.id, node.attr))
    return sorted(classes), sorted(name for name in names if not name.startswith("_"))


def kind(thing, name):
    """What a name of an object is; "" when the object has no such name."""
    try:
        value = getattr(thing, name)
    except AttributeError:
        return ""
    if "signal" in type(value).__name__.lower():
        return "signal"
    return "call" if callable(value) else "property"


def members():
    """Kind by name, by class, of objects that can be made without arguments."""
    classes, names = used()
    found = {}
    for module, class_name in classes:
        try:
            thing = getattr({"qt": qt, "ctk": ctk}[module], class_name)()
            thing.className()
        except Exception:
            continue  # needs arguments, or is no object of Qt's
        kinds = {name: kind(thing, name) for name in names}
        found[f"{module}.{class_name}"] = {name: value for name, value in kinds.items() if value}
    return found


if __name__ in ("__main__", "script"):
    try:
        found = members()
        RECORD.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{len(found)} classes, {sum(map(len, found.values()))} members")
    except Exception:
        traceback.print_exc()
        slicer.util.exit(1)
    else:
        slicer.util.exit(0)
