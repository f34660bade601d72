#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pixels.h"

/* The same sources are built twice, as `_native` and for processors with AVX2 as `_native_avx2`. */
#define NAME(module) NAME_OF(module)
#define NAME_OF(module) #module
#define INIT(module) INIT_OF(module)
#define INIT_OF(module) PyInit_##module

enum { LEAST_SIDE = 40, MOST_PIXELS = 1 << 30, SCALES = 4, MOST_LAYERS = 15, MOST_WIDE = 1 << 14 };
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

/* The light of the four quarters, the upper ones first; of an odd side the middle is left out. */
static PyObject *light(PyObject *self, PyObject *working)
{
    Py_buffer view;
    Grey grey;
    (void)self;
    if (open_grey(working, 1, &view, &grey) < 0) return NULL;
    ptrdiff_t quarters[4];
    light_of_quarters(grey, quarters);
    PyBuffer_Release(&view);
    return Py_BuildValue("(nnnn)", quarters[0], quarters[1], quarters[2], quarters[3]);
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

static int is_narrow(Grey grey) { return larger(grey.height, grey.width) > MOST_NARROW * smaller(grey.height, grey.width); }

static PyObject *exposure(PyObject *self, PyObject *working)
{
    Py_buffer view;
    Grey grey;
    double facts[FACT_COUNT];
    float found[TONAL_COUNT];
    (void)self;
    if (open_grey(working, 1, &view, &grey) < 0) return NULL;
    int is_wide = !is_narrow(grey), result = is_wide ? exposure_features(grey, facts, found) : 0;
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

static PyObject *features(PyObject *self, PyObject *arguments)
{
    PyObject *first, *second;
    Py_buffer of_native, of_working;
    Grey native, working;
    Taken taken;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "OO", &first, &second)) return NULL;
    if (open_grey(first, 0, &of_native, &native) < 0) return NULL;
    if (open_grey(second, 1, &of_working, &working) < 0) {
        PyBuffer_Release(&of_native);
        return NULL;
    }
    int is_wide = !is_narrow(working), result = is_wide ? all_features(native, working, &taken) : 0;
    PyBuffer_Release(&of_native);
    PyBuffer_Release(&of_working);
    if (!is_wide) return PyErr_Format(PyExc_ValueError, "at most %d times as long as wide", MOST_NARROW);
    if (result == OUT_OF_MEMORY) return PyErr_NoMemory();
    const double *tones = taken.facts, *fit = taken.fit;
    return Py_BuildValue("((ddddd)(ddd)dy#)", tones[0], tones[1], tones[2], tones[3], tones[4], fit[0], fit[1], fit[2],
                         taken.repeated, taken.vector, (Py_ssize_t)sizeof taken.vector);
}

/* Look at numbers in a row, which are as large as these; gives how many, or -1. */
static Py_ssize_t open_numbers(PyObject *array, Py_ssize_t size, Py_buffer *view)
{
    if (PyObject_GetBuffer(array, view, PyBUF_SIMPLE) < 0) return -1;
    if (view->len % size == 0) return view->len / size;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "not whole numbers of bytes");
    return -1;
}

/* The widths of layers, from that of the inputs on; gives how many layers, or -1. */
static int layers_of(PyObject *shape, ptrdiff_t *widths, ptrdiff_t *widest, ptrdiff_t *size)
{
    Py_ssize_t count = PyTuple_Size(shape);
    if (count < 0) return -1;
    for (Py_ssize_t i = 0; i < count && i <= MOST_LAYERS; i++) {
        widths[i] = PyLong_AsSsize_t(PyTuple_GetItem(shape, i));
        if (widths[i] < 1 || widths[i] > MOST_WIDE) count = 0;
        else *widest = larger(*widest, widths[i]), *size += i ? (widths[i - 1] + 1) * widths[i] : SCALES * widths[0];
    }
    if (count >= 2 && count <= MOST_LAYERS + 1) return (int)count - 1;
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no layers, too many, or too wide ones");
    return -1;
}

static PyObject *ask(const float *vector, Py_ssize_t known, const int32_t *columns, const float *network, Py_ssize_t networks,
                     const ptrdiff_t *widths, int layers, ptrdiff_t widest)
{
    ptrdiff_t outputs = widths[layers];
    float *features = malloc((size_t)(3 * widest + networks * outputs) * sizeof *features), *found = features + 3 * widest;
    PyObject *list = NULL;
    if (!features) return PyErr_NoMemory();
    ptrdiff_t at = 0;
    for (; at < widths[0] && columns[at] >= 0 && columns[at] < known; at++) features[at] = vector[columns[at]];
    if (at < widths[0]) PyErr_SetString(PyExc_ValueError, "a column that is not there");
    else {
        for (Py_ssize_t i = 0; i < networks; i++)
            network = network_outputs(network, widths, layers, features, features + widest, widest, found + i * outputs);
        list = list_of(found, networks * outputs);
    }
    free(features);
    return list;
}

static PyObject *answers(PyObject *self, PyObject *arguments)
{
    PyObject *arrays[3], *shape, *list = NULL;
    Py_buffer views[3];
    Py_ssize_t counts[3];
    ptrdiff_t widths[MOST_LAYERS + 1], widest = 0, size = 0;
    int layers, opened = 0;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "OOOO!", arrays, arrays + 1, arrays + 2, &PyTuple_Type, &shape)) return NULL;
    if ((layers = layers_of(shape, widths, &widest, &size)) < 0) return NULL;
    while (opened < 3 && (counts[opened] = open_numbers(arrays[opened], sizeof(float), views + opened)) >= 0) opened++;
    if (opened == 3 && counts[1] == widths[0] && counts[2] % size == 0)
        list = ask(views[0].buf, counts[0], views[1].buf, views[2].buf, counts[2] / size, widths, layers, widest);
    else if (opened == 3) PyErr_SetString(PyExc_ValueError, "columns or weights that do not fit the layers");
    while (opened) PyBuffer_Release(views + --opened);
    return list;
}

static PyMethodDef functions[] = {
    {"light", light, METH_O, "Give the light of the four quarters."},
    {"blur", blur, METH_O, "Give the features of blur.py."},
    {"noise", noise, METH_O, "Give the features of noise.py."},
    {"exposure", exposure, METH_O, "Give the facts and the features of exposure.py."},
    {"lines", lines, METH_VARARGS, "Give the grids, the repetition and the features of lines.py."},
    {"compression", compression, METH_VARARGS, "Give the fit and the features of blocks of compression.py."},
    {"features", features, METH_VARARGS, "Give tones, the grid's fit, repetition, and all features as bytes; see vector.py."},
    {"answers", answers, METH_VARARGS, "Give what each of some networks answers, one after another; see network.py."},
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
