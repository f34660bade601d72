#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pixels.h"

/* The same sources are built twice, as `_native` and for processors with AVX2 as `_native_avx2`. */
#define NAME(module) NAME_OF(module)
#define NAME_OF(module) #module
#define INIT(module) INIT_OF(module)
#define INIT_OF(module) PyInit_##module

enum { LEAST_SIDE = 40, MOST_PIXELS = 1 << 30, MOST_NARROW = 20 };
typedef int (*Extract)(Grey, float *);

/* Look at an array of height x width uint8 where it lies; in one direction neighbours must be neighbours in memory. */
static int open_grey(PyObject *array, int must_be_dense, Py_buffer *view, Grey *grey)
{
    if (PyObject_GetBuffer(array, view, PyBUF_STRIDED_RO) < 0) return -1;
    if (view->ndim == 2 && view->itemsize == 1 && view->shape[0] >= LEAST_SIDE && view->shape[1] >= LEAST_SIDE &&
        view->shape[0] <= MOST_PIXELS / view->shape[1] &&
        (labs(view->strides[0]) == 1 || labs(view->strides[1]) == 1) &&
        (!must_be_dense || (view->strides[1] == 1 && view->strides[0] == view->shape[1]))) {
        *grey = (Grey){view->buf, view->shape[0], view->shape[1], view->strides[0], view->strides[1]};
        return 0;
    }
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "not height x width uint8, or too small, or with gaps");
    return -1;
}

static PyObject *list_of(const float *values, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *number = PyFloat_FromDouble(values[i]);
        if (!number || PyList_SetItem(list, i, number) < 0) Py_CLEAR(list);
    }
    return list;
}

static PyObject *features_of(PyObject *array, Extract extract, float *found, Py_ssize_t count)
{
    Py_buffer view;
    Grey grey;
    if (open_grey(array, 1, &view, &grey) < 0) return NULL;
    int result = extract(grey, found);
    PyBuffer_Release(&view);
    return result == OUT_OF_MEMORY ? PyErr_NoMemory() : list_of(found, count);
}

static PyObject *blur(PyObject *self, PyObject *working)
{
    float found[BLUR_COUNT];
    (void)self;
    return features_of(working, blur_features, found, BLUR_COUNT);
}

static PyObject *noise(PyObject *self, PyObject *working)
{
    float found[NOISE_COUNT];
    (void)self;
    return features_of(working, noise_features, found, NOISE_COUNT);
}

static PyObject *exposure(PyObject *self, PyObject *working)
{
    Py_buffer view;
    Grey grey;
    double facts[FACT_COUNT];
    float found[TONAL_COUNT];
    (void)self;
    if (open_grey(working, 1, &view, &grey) < 0) return NULL;
    int is_wide = larger(grey.height, grey.width) <= MOST_NARROW * smaller(grey.height, grey.width);
    int result = is_wide ? exposure_features(grey, facts, found) : 0;
    PyBuffer_Release(&view);
    if (!is_wide) return PyErr_Format(PyExc_ValueError, "at most %d times as long as wide", MOST_NARROW);
    if (result == OUT_OF_MEMORY) return PyErr_NoMemory();
    PyObject *list = list_of(found, TONAL_COUNT);
    return list ? Py_BuildValue("((ddddd)N)", facts[0], facts[1], facts[2], facts[3], facts[4], list) : NULL;
}

static PyObject *lines(PyObject *self, PyObject *arguments)
{
    PyObject *first, *second;
    Py_buffer across, down;
    Grey along, below;
    double grids[GRID_COUNT], repeated;
    float found[LINE_COUNT];
    (void)self;
    if (!PyArg_ParseTuple(arguments, "OO", &first, &second)) return NULL;
    if (open_grey(first, 1, &across, &along) < 0) return NULL;
    if (open_grey(second, 1, &down, &below) < 0) {
        PyBuffer_Release(&across);
        return NULL;
    }
    int is_short = larger(larger(along.width, along.height), larger(below.width, below.height)) <= LONGEST_LINE;
    int result = is_short ? line_features(along, below, grids, &repeated, found) : 0;
    PyBuffer_Release(&across);
    PyBuffer_Release(&down);
    if (result == OUT_OF_MEMORY) return PyErr_NoMemory();
    if (!is_short) return PyErr_Format(PyExc_ValueError, "at most %d lines of as many px", LONGEST_LINE);
    PyObject *list = list_of(found, LINE_COUNT);
    if (!list) return NULL;
    const double *c = grids, *r = grids + 3; /* along rows lie borders between columns */
    return Py_BuildValue("((ddd)(ddd)dN)", c[0], c[1], c[2], r[0], r[1], r[2], repeated, list);
}

static PyObject *compression(PyObject *self, PyObject *arguments)
{
    PyObject *native;
    Py_ssize_t row, column;
    Py_buffer view;
    Grey grey;
    double fit[FIT_COUNT];
    float found[COMPRESSION_COUNT];
    (void)self;
    if (!PyArg_ParseTuple(arguments, "Onn", &native, &row, &column)) return NULL;
    if (row < 0 || column < 0 || row > 7 || column > 7) {
        PyErr_SetString(PyExc_ValueError, "a block border lies within the first 8 px");
        return NULL;
    }
    if (open_grey(native, 0, &view, &grey) < 0) return NULL;
    int result = compression_features(grey, row, column, fit, found);
    PyBuffer_Release(&view);
    if (result == OUT_OF_MEMORY) return PyErr_NoMemory();
    PyObject *list = list_of(found, COMPRESSION_COUNT);
    return list ? Py_BuildValue("((ddd)N)", fit[0], fit[1], fit[2], list) : NULL;
}

static PyMethodDef functions[] = {
    {"blur", blur, METH_O, "Give the features of blur.py."},
    {"noise", noise, METH_O, "Give the features of noise.py."},
    {"exposure", exposure, METH_O, "Give the facts and the features of exposure.py."},
    {"lines", lines, METH_VARARGS, "Give the grids, the repetition and the features of pixelation.py."},
    {"compression", compression, METH_VARARGS, "Give the fit and the features of blocks of compression.py."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = NAME(MODULE), .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC INIT(MODULE)(void)
{
#if defined(__AVX2__)
    if (!__builtin_cpu_supports("avx2")) {
        PyErr_SetString(PyExc_ImportError, "this processor has no AVX2");
        return NULL;
    }
#endif
    return PyModule_Create(&definition);
}
