"""What the effect draws on slice views: the outline of a pending mask, and the box or line under the mouse."""

import slicer

from EfficientMedSAM2Lib.mrml.effect.outline import SliceLines, raise_markups


class PreviewPipelines:
    """Actors on all slice views of an effect; made when a view first needs them, all removed by ``clear``."""

    def __init__(self, scriptedEffect):
        self.scriptedEffect = scriptedEffect
        self._pipelines = {}

    def pipeline(self, sliceWidget):
        """The view's actors."""
        if sliceWidget not in self._pipelines:
            pipeline = SliceLines()
            for actor in pipeline.actors:
                self.scriptedEffect.addActor2D(sliceWidget, actor)
            self._pipelines[sliceWidget] = pipeline
        return self._pipelines[sliceWidget]

    def showMask(self, image, volumeNode, sliceWidgets=None):
        """Outline a mask (vtkOrientedImageData in the volume's frame) on views, or all; no mask hides the outlines."""
        for sliceWidget in self._sliceWidgets() if sliceWidgets is None else sliceWidgets:
            if image is None and sliceWidget not in self._pipelines:
                continue
            sliceNode = self.scriptedEffect.viewNode(sliceWidget)
            if self.pipeline(sliceWidget).show_mask(image, volumeNode, sliceNode):
                self.scriptedEffect.scheduleRender(sliceWidget)

    def showBand(self, sliceWidget, pointsXY, closed, include):
        """Show what is being dragged on one view."""
        if pointsXY or sliceWidget in self._pipelines:
            self.pipeline(sliceWidget).show_band(pointsXY, closed, include)
            self.scriptedEffect.scheduleRender(sliceWidget)

    def raiseMarkers(self):
        """Markers of prompts are seen as they were first drawn, over the masks."""
        for sliceWidget in self._sliceWidgets():
            renderer = self.scriptedEffect.renderer(sliceWidget)
            if renderer is not None and raise_markups(renderer):
                self.scriptedEffect.scheduleRender(sliceWidget)

    def _sliceWidgets(self):
        """Slice views of the layout that show the segmentation."""
        layoutManager = slicer.app.layoutManager()
        if layoutManager is None:
            return []
        widgets = [layoutManager.sliceWidget(name) for name in layoutManager.sliceViewNames()]
        displayable = self.scriptedEffect.segmentationDisplayableInView
        return [w for w in widgets if w is not None and displayable(self.scriptedEffect.viewNode(w))]

    def clear(self):
        """Remove all actors."""
        pipelines, self._pipelines = self._pipelines, {}
        for sliceWidget, pipeline in pipelines.items():
            for actor in pipeline.actors:
                self.scriptedEffect.removeActor2D(sliceWidget, actor)
            self.scriptedEffect.scheduleRender(sliceWidget)
