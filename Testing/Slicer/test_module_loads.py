"""The module loads and explains itself, with PyTorch and without."""

import slicer
from slicer_case import check, run, wait_until


def module_tells_its_state():
    """The panel opens and tells what is installed."""
    wait_until(lambda: hasattr(slicer.modules, "efficientmedsam2"), "the module is loaded")
    slicer.util.selectModule("EfficientMedSAM2")
    panel = slicer.modules.efficientmedsam2.widgetRepresentation().self()
    state = panel.logic.state()
    print(f"    {state}")
    check(panel.ui.stateLabel.text == state.summary, f"the panel says: {state.summary}")
    check(panel.ui.checkButton.enabled == state.ready, "the check is offered only when the set-up is complete")


def module_explains_what_is_missing():
    """As if nothing were installed: the panel says so and offers the set-up."""
    from EfficientMedSAM2ModuleLib import setup_state

    real = setup_state.installed_version
    setup_state.installed_version = lambda _distribution: None
    try:
        slicer.util.selectModule("EfficientMedSAM2")
        panel = slicer.modules.efficientmedsam2.widgetRepresentation().self()
        panel.enter()
        check("ONNX Runtime is missing" in panel.ui.stateLabel.text, f"the panel says: {panel.ui.stateLabel.text}")
        check(panel.ui.setupButton.enabled, "the set-up is offered")
    finally:
        setup_state.installed_version = real
        panel.enter()


run(module_tells_its_state, module_explains_what_is_missing)
