"""What the strict backend lets through of NumPy's interface: what CuPy 14 has and minigen may use, by kind of call.

`cupy_names.json` says what CuPy has (cupy_introspection.py wrote it); test_strict_complete.py holds these lists against
it: nothing listed that CuPy lacks, nothing that CuPy has neither listed nor in LEFT_OUT. The keywords of every function
are read from the file.
"""

import json
from pathlib import Path

STORED = json.loads(Path(__file__).with_name("cupy_names.json").read_text())


def _names(block: str) -> list[str]:
    return block.split()


# Elementwise functions: arrays and numbers only, no lists, no host arrays, no `where=`.
UFUNCS = _names("""
abs absolute acos acosh add arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan atan2 atanh
bitwise_and bitwise_not bitwise_or bitwise_xor cbrt ceil conj conjugate copysign cos cosh deg2rad degrees divide
divmod equal exp exp2 expm1 fabs float_power floor floor_divide fmax fmin fmod frexp gcd greater greater_equal
heaviside hypot invert isfinite isinf isnan lcm ldexp left_shift less less_equal log log10 log1p log2 logaddexp
logaddexp2 logical_and logical_not logical_or logical_xor maximum minimum mod modf multiply negative nextafter
not_equal positive pow power rad2deg radians reciprocal remainder right_shift rint sign signbit sin sinh sqrt square
subtract tan tanh true_divide trunc
""")

# The methods that CuPy's elementwise functions have, and which of the functions have them ("outer": all).
UFUNC_METHODS = {
    "at": {"add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"},
    "reduce": {"add", "multiply"},
    "accumulate": {"add", "multiply"},
    "reduceat": {"add"},
    "outer": set(UFUNCS),
}

# ufunc.at is made of atomic operations, which exist for these only.
AT_DTYPES = {"int32", "float16", "float32", "float64", "uint32", "uint64"}

# From host numbers, lists or arrays to a device array.
CREATION = _names("""
arange array asanyarray asarray ascontiguousarray empty eye full identity indices linspace logspace ones tri zeros
""")

# A list or tuple of arrays comes first.
JOINING = _names("""
broadcast_arrays column_stack concat concatenate dstack einsum hstack meshgrid stack vstack
""")

# An array comes first.
FUNCTIONS = _names("""
all allclose amax amin angle any append argmax argmin argpartition argsort argwhere around array_equal array_split
astype atleast_1d atleast_2d atleast_3d average bincount broadcast_to clip convolve copy copyto correlate
count_nonzero cov cross cumprod cumsum cumulative_prod cumulative_sum diag diag_indices_from diagflat diagonal diff
digitize dot dsplit ediff1d empty_like expand_dims extract fill_diagonal flatnonzero flip fliplr flipud full_like
gradient histogram hsplit i0 imag inner interp isclose isin isneginf isposinf kron lexsort matmul matrix_transpose
max mean median min moveaxis nan_to_num nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin
nanprod nanstd nansum nanvar nonzero ones_like outer pad partition percentile permute_dims prod ptp putmask
quantile ravel real repeat reshape resize roll rollaxis rot90 round searchsorted sinc sort
split squeeze std sum swapaxes take take_along_axis tensordot tile trace transpose trapezoid tril triu unique vander
var vdot vsplit where zeros_like
""")

# Constants, dtypes, and questions about shapes and types: NumPy's own, answered without the device.
HOST = _names("""
bool bool_ broadcast_shapes can_cast complex128 complex64 dtype e finfo float16 float32 float64 floating iinfo
inexact inf int16 int32 int64 int8 integer intp isdtype isscalar issubdtype nan ndim newaxis number pi promote_types
result_type shape size uint16 uint32 uint64 uint8
""")

LINALG = _names("""
cholesky cond det eig eigh eigvals eigvalsh inv lstsq matmul matrix_power matrix_rank norm pinv qr slogdet solve svd
""")

STRIDE_TRICKS = ["as_strided", "sliding_window_view"]

METHODS = _names("""
all any argmax argmin argpartition argsort astype clip compress conj copy cumprod cumsum diagonal dot fill
flatten max mean min nonzero partition prod ravel repeat reshape round searchsorted sort squeeze std sum swapaxes
take trace transpose var view
""")

ATTRIBUTES = _names("""
T dtype imag itemsize mT nbytes ndim real shape size strides
""")

# CuPy has these too, and no minigen code may say them.
LEFT_OUT = {
    "minigen draws on the host, and reads and writes there": _names("""
    fromfile frombuffer fromstring genfromtxt load loadtxt random save savetxt savez savez_compressed
    """),
    "made of Python functions, which a device cannot call": _names("""
    apply_along_axis apply_over_axes fromfunction fromiter piecewise vectorize
    """),
    "text, settings, types and questions for people": _names("""
    array2string array_repr array_str base_repr binary_repr byte cdouble common_type complexfloating csingle double
    euler_gamma exceptions format_float_positional format_float_scientific from_dlpack generic get_printoptions half
    int_ intc iscomplexobj isfortran isrealobj iterable long longlong may_share_memory min_scalar_type mintypecode
    ndarray printoptions set_printoptions shares_memory short show_config signedinteger single testing typename typing
    ubyte ufunc uint uintc uintp ulong ulonglong unsignedinteger ushort
    """),
    "objects that index or iterate": _names("""
    broadcast c_ flatiter index_exp ix_ mgrid ndindex ogrid r_ s_
    """),
    "modules of their own; of linalg and lib what is listed below": ["fft", "lib", "linalg", "polynomial"],
    "not needed, and another way to wait for the device": _names("""
    array_equiv asarray_chkfinite asfortranarray bartlett bitwise_count bitwise_invert bitwise_left_shift
    bitwise_right_shift blackman choose compress corrcoef delete diag_indices fix hamming hanning histogram2d
    histogramdd intersect1d iscomplex isreal kaiser mask_indices packbits place poly poly1d polyadd polyfit polymul
    polysub polyval put put_along_axis ravel_multi_index real_if_close require roots row_stack select setdiff1d setxor1d
    sort_complex
    tril_indices tril_indices_from trim_zeros triu_indices triu_indices_from union1d unique_all unique_counts
    unique_inverse unique_values unpackbits unravel_index unwrap
    """),
}
LINALG_LEFT_OUT = ["LinAlgError", "cross", "matrix_transpose", "tensorinv", "tensorsolve"]
# Of the array: defined in strict.py one by one, or for files and raw memory.
ARRAY_BY_HAND = ["base", "flags", "item", "tobytes", "tolist"]
ARRAY_LEFT_OUT = [
    "byteswap",
    "choose",
    "conjugate",
    "data",
    "device",
    "dump",
    "dumps",
    "flat",
    "put",
    "tofile",
]

# Keywords. CuPy knows or ignores some of these; minigen says none of them to any function.
NOWHERE = {"device", "like", "subok", "where"}
ELEMENTWISE = {"out", "dtype", "casting"}
VARIADIC = {"einsum": {"dtype", "optimize"}, "meshgrid": {"copy", "indexing", "sparse"}}


def keywords(name: str) -> set[str] | None:
    """The keywords that CuPy's function (`sum`), method (`ndarray.sum`) or `linalg.norm` takes; None: any"""
    if name in STORED["ufuncs"]:
        return ELEMENTWISE
    known = VARIADIC.get(name, STORED["keywords"].get(name))
    return None if known is None else set(known) - NOWHERE


# Functions that must wait for the device, because the shape of their result, or its type, depends on the numbers.
WAITING = {
    "argwhere",
    "bincount",
    "digitize",
    "extract",
    "flatnonzero",
    "histogram",
    "isin",
    "nonzero",
    "unique",
    "compress",
    "repeat",
    "putmask",
}
