#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

/* Strict decoding by libjpeg: its first warning is an error, as are the ones that it cannot go on from. */

typedef struct {
    struct jpeg_error_mgr standard; /* first, so that libjpeg's pointer to it is one to all of this */
    jmp_buf way_out;
    char told[JMSG_LENGTH_MAX];
} Complaints;

static void keep_message(j_common_ptr decoder) { decoder->err->format_message(decoder, ((Complaints *)decoder->err)->told); }

static void leave(j_common_ptr decoder)
{
    keep_message(decoder);
    longjmp(((Complaints *)decoder->err)->way_out, 1);
}

/* Tell whether the colours are sampled in a way that TurboJPEG, and so simplejpeg, has a name for. */
static int is_common_sampling(j_decompress_ptr decoder)
{
    static const int known[][2] = {{1, 1}, {2, 1}, {2, 2}, {1, 2}, {4, 1}, {1, 4}};
    const jpeg_component_info *of = decoder->comp_info;
    int colours = decoder->num_components, inks = colours == 4, is_known = 0, are_single = 1, are_equal = 1, are_halves = 1;
    if (colours == 1) return decoder->jpeg_color_space == JCS_GRAYSCALE;
    if (colours != 3 && !(inks && (decoder->jpeg_color_space == JCS_YCCK || decoder->jpeg_color_space == JCS_CMYK))) return 0;
    int across = of[0].h_samp_factor, down = of[0].v_samp_factor;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) is_known |= across == known[i][0] && down == known[i][1];
    for (int k = 1; k < colours; k++) {
        int h = of[k].h_samp_factor, v = of[k].v_samp_factor, is_first_like = h == across && v == down;
        are_equal &= is_first_like;
        are_single &= k == 3 ? is_first_like : h == 1 && v == 1;
        are_halves &= k == 3 ? is_first_like : h * v == 2 && h == of[1].h_samp_factor;
    }
    if (are_equal && across * down <= D_MAX_BLOCKS_IN_MCU / colours) return 1;
    return (is_known && are_single) || (across == 2 && down == 2 && are_halves);
}

static int begin(j_decompress_ptr decoder, Complaints *complaints, Py_buffer *file, int is_of_inks)
{
    if (setjmp(complaints->way_out)) return -1;
    jpeg_create_decompress(decoder);
    jpeg_mem_src(decoder, file->buf, (unsigned long)file->len);
    jpeg_read_header(decoder, TRUE);
    if (complaints->standard.num_warnings) return -1;
    if (!is_common_sampling(decoder)) {
        snprintf(complaints->told, sizeof complaints->told, "Could not determine subsampling level of JPEG image");
        return -1;
    }
    decoder->out_color_space = is_of_inks ? JCS_CMYK : JCS_GRAYSCALE;
    return 0;
}

static int finish(j_decompress_ptr decoder, Complaints *complaints, JSAMPLE *pixels, size_t row_bytes)
{
    if (setjmp(complaints->way_out)) return -1;
    jpeg_start_decompress(decoder);
    while (decoder->output_scanline < decoder->output_height) {
        JSAMPROW row = pixels + decoder->output_scanline * row_bytes;
        jpeg_read_scanlines(decoder, &row, 1);
    }
    jpeg_finish_decompress(decoder);
    return complaints->standard.num_warnings ? -1 : 0;
}

static PyObject *pixels_of(j_decompress_ptr decoder, Complaints *complaints, Py_buffer *file, int is_of_inks)
{
    int result;
    if (begin(decoder, complaints, file, is_of_inks) < 0) return NULL;
    Py_ssize_t row_bytes = (Py_ssize_t)decoder->image_width * (is_of_inks ? 4 : 1);
    PyObject *pixels = PyByteArray_FromStringAndSize(NULL, row_bytes * (Py_ssize_t)decoder->image_height);
    if (!pixels) return NULL;
    JSAMPLE *first = (JSAMPLE *)PyByteArray_AsString(pixels);
    Py_BEGIN_ALLOW_THREADS
    result = finish(decoder, complaints, first, (size_t)row_bytes);
    Py_END_ALLOW_THREADS
    if (result < 0) Py_CLEAR(pixels);
    return pixels;
}

/* Takes the file and whether it is of four inks; gives height, width and the pixels, grey or CMYK as stored. */
static PyObject *decode(PyObject *self, PyObject *arguments)
{
    struct jpeg_decompress_struct decoder = {0};
    Complaints complaints = {.told = ""};
    Py_buffer file;
    int is_of_inks;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "y*p", &file, &is_of_inks)) return NULL;
    decoder.err = jpeg_std_error(&complaints.standard);
    complaints.standard.error_exit = leave;
    complaints.standard.output_message = keep_message;
    PyObject *pixels = pixels_of(&decoder, &complaints, &file, is_of_inks);
    PyObject *answer = pixels ? Py_BuildValue("IIN", decoder.image_height, decoder.image_width, pixels) : NULL;
    if (!answer && !PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, complaints.told);
    jpeg_destroy_decompress(&decoder);
    PyBuffer_Release(&file);
    return answer;
}

static PyMethodDef methods[] = {{"decode", decode, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_jpeg", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__jpeg(void) { return PyModule_Create(&definition); }
