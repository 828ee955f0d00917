"""Enter and Esc in a field that one types in are the field's, also while a preview waits for them."""

from __future__ import annotations

import pytest
from effect_user import INSIDE
from PySide6 import QtCore, QtTest, QtWidgets


class ctkQDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    """CTK's number fields hold one of this name, and it is what has the focus."""


def segment_name(parent):
    """The name of a segment in a table, being changed: Qt edits it in a class of its own."""
    table = QtWidgets.QTableWidget(1, 1, parent)
    table.setItem(0, 0, QtWidgets.QTableWidgetItem("Segment_1"))
    table.show()
    table.editItem(table.item(0, 0))
    return table.findChild(QtWidgets.QLineEdit)


def path(parent):
    """CTK's field for a path: an editable combo box."""
    combo = QtWidgets.QComboBox(parent)
    combo.setEditable(True)
    return combo


@pytest.fixture
def page(user):
    """A place for fields in the main window, which is in front; a preview waits."""
    user.press(user.panel.autoCommitCheck)
    user.click(INSIDE)
    window = user.host.native_app.window
    window.show()
    window.activateWindow()
    assert QtTest.QTest.qWaitForWindowActive(window, 2000)
    place = QtWidgets.QWidget(window)
    place.show()
    yield place
    place.deleteLater()


def type_into(user, field, key):
    field.show()
    field.setFocus()
    assert QtWidgets.QApplication.focusWidget() is field
    QtTest.QTest.keyClick(field, key)
    user.host.process_events(20)
    user.wait()


@pytest.mark.parametrize("make", [segment_name, path, ctkQDoubleSpinBox, QtWidgets.QPlainTextEdit])
@pytest.mark.parametrize("key", [QtCore.Qt.Key_Return, QtCore.Qt.Key_Escape])
def test_a_preview_stays_while_one_types(user, page, make, key):
    type_into(user, make(page), key)
    assert user.controller.has_preview
    assert user.count() == 0


def test_a_list_to_choose_from_is_not_typed_in(user, page):
    type_into(user, QtWidgets.QComboBox(page), QtCore.Qt.Key_Return)
    assert not user.controller.has_preview
    assert user.count() == 36
