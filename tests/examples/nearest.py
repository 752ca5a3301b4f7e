# SPDX-License-Identifier: Apache-2.0
"""Builds an index of a file of vectors and prints the rows nearest to a query. Usage: nearest.py VECTORS INDEX X..."""
import sys
from ctypes import CDLL, Structure, byref, c_char_p, c_float, c_int64, c_size_t, c_uint64, c_void_p
from ctypes import create_string_buffer, sizeof

omen = CDLL("libomendb.so.0")
Struct = type("Struct", (Structure,), {"_fields_": [("words", c_uint64 * 32)]})  # room for any struct of omendb.h
# omen_build_paths, as much of it as this program knows
fields = [("struct_bytes", c_size_t)] + [(name, c_char_p) for name in ("input", "vectors", "tune_queries", "output")]
Paths = type("Paths", (Structure,), {"_fields_": fields})
omen.omen_error_text.restype = c_char_p
container, index, why = c_void_p(), c_void_p(), create_string_buffer(512)
build, search, ids, distances = Struct(), Struct(), (c_int64 * 10)(), (c_float * 10)()


def check(code):
    code == 0 or sys.exit(why.value.decode() or omen.omen_error_text(code).decode())


paths = Paths(sizeof(Paths), sys.argv[1].encode(), None, None, sys.argv[2].encode())
omen.omen_build_options_init(byref(build), 24)  # as much of the struct as this program knows: up to the hot bytes
check(omen.omen_index_build_file(byref(paths), byref(build), None, None, None, why))
omen.omen_search_options_init(byref(search), 16)  # up to k and recall
check(omen.omen_container_open(byref(container), sys.argv[2].encode(), why))
check(omen.omen_container_open_index(byref(container), byref(index), sys.argv[2].encode(), c_uint64(2**40), True, why))
query = (c_float * (len(sys.argv) - 3))(*map(float, sys.argv[3:]))
check(omen.omen_index_search(index, byref(search), query, c_uint64(1), ids, distances, None, why))
for found in zip(ids, distances):
    print(*found)
