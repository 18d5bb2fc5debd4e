// What Python calls of native_ending.cpp.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace auditor {

PyObject* catch_signals(PyObject*, PyObject* arguments);
PyObject* caught_signal(PyObject*, PyObject*);
PyObject* release_signals(PyObject*, PyObject*);
PyObject* forget_signals(PyObject*, PyObject*);

} // namespace auditor
