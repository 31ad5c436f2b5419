"""What CuPy 14.2 offers of NumPy's interface, read off the installed package; `strict` lets nothing else through.

NumPy has, and CuPy has not (so no minigen code may say it): errstate, seterr, block, einsum_path, emath, frompyfunc,
geomspace, histogram_bin_edges, insert, ma, matrix, matvec, memmap, nanpercentile, nanquantile, ndenumerate, nditer,
polyder, polyint, spacing, unstack, vecdot, vecmat, object and string dtypes, datetimes, long double. Its arrays lack
`__array_interface__`, `__index__` (no range(n) of a device number), `__contains__`, `ctypes`, `resize`, `setflags`,
`flags.writeable`. Left out here although CuPy has it: `random` (minigen draws on the host) and file input.
"""


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
nanprod nanstd nansum nanvar nonzero ones_like outer pad partition percentile permute_dims prod ptp put
put_along_axis putmask quantile ravel real repeat reshape resize roll rollaxis rot90 round searchsorted sinc sort
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
all any argmax argmin argpartition argsort astype choose clip compress conj copy cumprod cumsum diagonal dot fill
flatten max mean min nonzero partition prod put ravel repeat reshape round searchsorted sort squeeze std sum swapaxes
take trace transpose var view
""")

ATTRIBUTES = _names("""
T dtype imag itemsize mT nbytes ndim real shape size strides
""")

# Keywords that NumPy has and CuPy has not. Every function: see EVERYWHERE.
EVERYWHERE = {"device", "like", "subok", "where"}
NO_KEYWORDS = {
    **{key: {"initial"} for key in ["amax", "amin", "max", "min", "nanmax", "nanmin"]},
    **{key: {"initial"} for key in ["sum", "prod", "nansum", "nanprod"]},
    **{key: {"correction", "mean"} for key in ["std", "var", "nanstd", "nanvar"]},
    **{key: {"order", "stable"} for key in ["sort", "argsort"]},
    **{key: {"kind", "order"} for key in ["partition", "argpartition"]},
    **{key: {"weights"} for key in ["percentile", "quantile"]},
    "array": {"ndmax"},
    "clip": {"max", "min"},
    "count_nonzero": {"keepdims"},
    "indices": {"sparse"},
    "isin": {"kind"},
    "lexsort": {"axis"},
    "reshape": {"shape"},
    "take": {"mode"},
    "unique": {"sorted"},
}

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
