"""What the effect draws on slice views: the outline of a pending mask, and the box or line under the mouse."""

import slicer

from EfficientMedSAM2Lib.mrml.effect.outline import (
    EXCLUDE_COLOR,
    PREVIEW_COLOR,
    line_actor,
    outline_polydata,
    polyline,
    raise_markups,
    show_lines,
)


class SlicePipeline:
    """The two 2D actors of one slice view."""

    def __init__(self):
        self.outlineMapper, self.outlineActor = line_actor(PREVIEW_COLOR)
        self.bandMapper, self.bandActor = line_actor(PREVIEW_COLOR)
        self.actors = (self.outlineActor, self.bandActor)

    def showOutline(self, polyData):
        """Show contour lines in pixels of the view; None hides them. Returns whether anything has to be drawn anew."""
        return show_lines(self.outlineMapper, self.outlineActor, polyData)

    def showBand(self, pointsXY, closed, include=True):
        """Show a polygon or a line in pixels of the view; no points hide it."""
        self.bandActor.GetProperty().SetColor(*(PREVIEW_COLOR if include else EXCLUDE_COLOR))
        return show_lines(self.bandMapper, self.bandActor, polyline(pointsXY, closed) if pointsXY else None)


class PreviewPipelines:
    """Actors on all slice views of an effect; made when a view first needs them, all removed by ``clear``."""

    def __init__(self, scriptedEffect):
        self.scriptedEffect = scriptedEffect
        self._pipelines = {}

    def pipeline(self, sliceWidget):
        """The view's actors."""
        if sliceWidget not in self._pipelines:
            pipeline = SlicePipeline()
            for actor in pipeline.actors:
                self.scriptedEffect.addActor2D(sliceWidget, actor)
            self._pipelines[sliceWidget] = pipeline
        return self._pipelines[sliceWidget]

    def showMask(self, image, volumeNode, sliceWidgets=None):
        """Outline a mask (vtkOrientedImageData in the volume's frame) on views, or all; no mask hides the outlines."""
        for sliceWidget in self._sliceWidgets() if sliceWidgets is None else sliceWidgets:
            if image is None and sliceWidget not in self._pipelines:
                continue
            polyData = None
            if image is not None:
                sliceNode = self.scriptedEffect.viewNode(sliceWidget)
                polyData = outline_polydata(image, volumeNode, sliceNode)
            if self.pipeline(sliceWidget).showOutline(polyData):
                self.scriptedEffect.scheduleRender(sliceWidget)

    def showBand(self, sliceWidget, pointsXY, closed=True, include=True):
        """Show what is being dragged on one view."""
        if pointsXY or sliceWidget in self._pipelines:
            self.pipeline(sliceWidget).showBand(pointsXY, closed, include)
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
