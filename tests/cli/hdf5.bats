# SPDX-License-Identifier: Apache-2.0
# HDF5: datasets as vectors, queries and truth; results.
load helper

# few: v.npy of 300 rows, q.npy, and a.h5, which has them in every way that is read, and in some that are not.
few()
{
    "$(python_with numpy h5py || echo python3)" - <<'END' || [ $? -ne 77 ] || skip "needs h5py"
import sys
try:
    import h5py, numpy
except ImportError:
    sys.exit(77)
rows = numpy.random.default_rng(1).integers(0, 200, (300, 24))
numpy.save("v.npy", rows.astype("f4"))
numpy.save("q.npy", rows[:20].astype("f4"))
with h5py.File("a.h5", "w") as file:
    file["train"] = rows.astype("f4")
    file["test"] = rows[:20].astype("f8")
    file["same"] = h5py.SoftLink("/train")
    file["elsewhere"] = h5py.ExternalLink("other.h5", "/secret")
    group = file.create_group("g/deep")
    def add(name, dtype, **options):
        group.create_dataset(name, data=rows.astype(dtype), **options)
    add("packed", ">f4", chunks=(37, 5), compression="gzip", shuffle=True, fletcher32=True)
    add("f2", "f2", chunks=(1000, 24), maxshape=(None, 24))
    add("i8", ">i8", chunks=(7, 24), compression="gzip")
    add("u1", "u1", chunks=(300, 1), shuffle=True)
    add("sum", "i2", chunks=(7, 24), fletcher32=True)
    add("lzf", "f4", chunks=(7, 24), compression="lzf")
    add("lzfs", ">i8", chunks=(50, 3), compression="lzf", shuffle=True, fletcher32=True)
    add("scaled", "i4", chunks=(7, 24), scaleoffset=0)
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((7, 24))
    plan.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
    h5py.h5d.create(group.id, b"blosc", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(rows.shape), plan)
    group.create_dataset("empty", shape=(300, 24), dtype="f4")
    group.create_dataset("sparse", shape=(10**12, 24), dtype="f4", chunks=(1000, 24))[0] = 1
    group.create_dataset("broad", shape=(10, 70000), dtype="f4")
    group["one"] = numpy.arange(5)
    other = h5py.h5t.IEEE_F32LE.copy()
    other.set_norm(h5py.h5t.NORM_NONE)
    h5py.h5d.create(group.id, b"other", other, h5py.h5s.create_simple(rows.shape)).write(
        h5py.h5s.ALL, h5py.h5s.ALL, rows.astype("f4"))
    group["text"] = numpy.array([[b"ab"]])
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(rows.shape)
    compact = h5py.h5d.create(group.id, b"compact", h5py.h5t.STD_U8LE, space, plan)
    compact.write(h5py.h5s.ALL, h5py.h5s.ALL, rows.astype("u1"))
    layout = h5py.VirtualLayout(rows.shape, "f4")
    layout[:] = h5py.VirtualSource("other.h5", "secret", rows.shape)
    group.create_virtual_dataset("virtual", layout)
    # its shape follows that of its source
    h5s, endless = h5py.h5s, (h5py.h5s.UNLIMITED, 24)
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    spaces = [h5s.create_simple((10, 24), endless) for _ in range(2)]
    for space in spaces:
        space.select_hyperslab((0, 0), (1, 1), block=endless)
    plan.set_virtual(spaces[0], b"pipe.h5", b"secret", spaces[1])
    h5py.h5d.create(group.id, b"view", h5py.h5t.IEEE_F32LE, h5s.create_simple((0, 24), endless), plan)
    group.create_dataset("outside", shape=rows.shape, dtype="f4", external=[("v.f32", 0, rows.size * 4)])
rows.astype("f4").tofile("v.f32")
with h5py.File("other.h5", "w") as file:
    file["secret"] = rows.astype("f4")
with h5py.File("new.h5", "w", libver="latest") as file:
    file["a"] = rows.astype("f4")
    file.create_dataset("b", data=rows.astype("f4"), chunks=(10, 24), compression="gzip")
    file.create_dataset("c", data=rows.astype("f4"), chunks=(10, 24), maxshape=(None, 24))
    file.create_dataset("d", data=rows.astype("f4"), chunks=(300, 24), compression="gzip")
with h5py.File("long.h5", "w") as file:
    file["a" * 300], file["train"] = rows, rows.astype("f4")
with h5py.File("scaled.h5", "w") as file:
    file.create_dataset("a", data=rows, chunks=(7, 24), scaleoffset=0)
with h5py.File("block.h5", "w", userblock_size=512) as file:
    file["a"] = rows.astype("f4")
END
    omendb build -q v.npy
}

@test "datasets of HDF5, however they are stored, give the rows they have" {
    local name
    few
    for name in a.h5:train a.h5:/train a.h5:same a.h5:g/deep/packed a.h5:/g/deep/f2 a.h5:g/deep/i8 a.h5:g/deep/u1 \
        a.h5:g/deep/sum a.h5:g/deep/compact a.h5:g/deep/lzf a.h5:g/deep/lzfs \
        new.h5:a new.h5:b new.h5:c new.h5:d block.h5:a block.h5 other.h5; do
        expect 0 omendb verify -q --source $name v.omen || fault "$name"
    done
    gzip -k other.h5
    for name in other.h5.gz a.h5:g/deep/packed; do
        omendb build -q -o found.omen $name
        expect 0 omendb verify -q --source v.npy found.omen
    done
    expect 0 omendb build -q -o found.omen /dev/stdin:train < <(cat a.h5)
    expect 0 omendb verify -q --source v.npy found.omen
    omendb query -q --distances v.omen q.npy >want
    omendb query -q --distances v.omen a.h5:test | cmp - want
    omendb query -q --distances v.omen -f hdf5 - < <(cat other.h5) | head -n 200 | cmp - want
    omendb compress -q other.h5
    omendb compress -d -q -o back.h5 other.h5.omz
    cmp back.h5 other.h5
    expect 0 omendb verify -q --source other.h5.omz v.omen
    only_in_tmp=$(mktemp -d)
    TMPDIR=$only_in_tmp expect 0 omendb info a.h5:g/deep/packed
    rmdir "$only_in_tmp"
}

@test "which dataset is meant is told, and what cannot be read" {
    few
    fails_with 2 "several datasets have two dimensions, so name one, as FILE:NAME, of " omendb build -o x.omen a.h5
    has "$stderr" "g/deep/compact (300 x 24, uint8)"
    fails_with 2 'it has no dataset "nothing"; there are ' omendb info a.h5:nothing
    fails_with 2 'it has no dataset "g"; there are ' omendb info a.h5:g
    fails_with 2 'dataset "g/deep/one" has 1 dimension; rows of values need 2' omendb info a.h5:g/deep/one
    fails_with 2 'dataset "g/deep/text" holds no numbers that are read' omendb info a.h5:g/deep/text
    fails_with 2 'dataset "g/deep/other" holds no numbers that are read' omendb info a.h5:g/deep/other
    # one that is not looked at may be the one that is meant
    fails_with 2 "not all of its datasets could be looked at, so name one, as FILE:NAME, of train (300 x 24, flo" \
        omendb build -o x.omen long.h5
    expect 0 omendb info long.h5
    has "$stderr" '"long.h5": not all of its datasets could be looked at'
    fails_with 2 "a row may have at most 65536 dimensions" omendb info a.h5:g/deep/broad
    fails_with 2 "packed by filter 6 (scaleoffset), which is not read: gzip (deflate), lzf, " \
        omendb info a.h5:g/deep/scaled
    has "$stderr" "; h5repack packs it anew with GZIP=4"
    fails_with 2 "filter 32001 (without a name), which is not read: " omendb info a.h5:g/deep/blosc
    has "$stderr" "; what wrote it can write it with gzip, or as npy"
    fails_with 2 "nothing was written to it" omendb info a.h5:g/deep/empty
    fails_with 2 'dataset "g/deep/sparse": the chunk at row 999999999000, column 0 is missing: nothing was written' \
        omendb info a.h5:g/deep/sparse
    has "$stderr" " there; h5repack with GZIP=4 puts the fill value there"
    # no other file is looked at, whatever this one says
    fails_with 2 "are in other files, which are not read" omendb info a.h5:g/deep/outside
    fails_with 2 "are in other files, which are not read" omendb info a.h5:g/deep/virtual
    mkfifo pipe.h5
    fails_with 2 "are in other files, which are not read" timeout 20 "$OMENDB" info a.h5:g/deep/view
    fails_with 2 'it has no dataset "elsewhere"' omendb info a.h5:elsewhere
    fails_with 4 "cannot create a temporary copy" env TMPDIR=/nonexistent "$OMENDB" info a.h5:g/deep/packed
    expect 0 timeout 20 "$OMENDB" info a.h5
    has "$output" "  dataset  g/deep/view, virtual, in other files"
    has "$output" "  dataset  g/deep/sparse, 1,000,000,000,000 x 24, float32"
    has "$output" "  dataset  g/deep/text, 1 x 1, of a type that is not read"
    expect 0 omendb info --json a.h5 other.h5
    same "$(member "$output" files.0.datasets.12.name)" '"g/deep/scaled"'
    same "$(member "$output" files.1.vectors.rows)" 300
    fails_with 2 "is not an omendb index but a file of several arrays" omendb query a.h5 q.npy
    fails_with 2 "is not an omendb index but a file of several arrays" omendb verify a.h5
    fails_with 2 '"scaled.h5" is not an omendb index but HDF5; ' omendb verify scaled.h5
    fails_with 2 '"scaled.h5" is not an omendb index but HDF5; ' omendb query scaled.h5 q.npy
    fails_with 2 '"scaled.h5" is HDF5, not a file of keys' omendb build --key scaled.h5 -o x.omen v.npy
    fails_with 2 '"scaled.h5" is HDF5, not a table' omendb build --columns scaled.h5 -o x.omen v.npy
}

@test "damaged HDF5 is an error, and nothing worse" {
    few
    for n in 40 700 2000 60000; do
        head -c $n a.h5 >cut.h5
        fails_with 2 '"cut.h5": it is damaged, cut short or newer than libhdf5' omendb info cut.h5
    done
    "$(python_with numpy h5py)" - <<'END'
import os, random, subprocess
random.seed(3)
# what libhdf5 leaks of a damaged file is not omendb's
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
small = open("new.h5", "rb").read()
large = open("a.h5", "rb").read()
for i in range(int(os.environ.get("OMEN_TEST_QUICK") and 10 or 50)):
    data = bytearray(random.choice((small, large)))
    for _ in range(random.choice((1, 2, 8, 32))):
        data[random.randrange(min(len(data), 8192))] = random.choice((0, 255, random.randrange(256)))
    open("bad.h5", "wb").write(data)
    for name in ("", ":b", ":train", ":g/deep/packed", ":g/deep/lzf"):
        run = subprocess.run([os.environ["OMENDB"], "info", "bad.h5" + name], capture_output=True, timeout=60)
        wrong = run.returncode not in (0, 2, 4) or (run.returncode and run.stderr.count(b"\n") != 1)
        assert not wrong, (i, name, run)
END
}

@test "results as HDF5, and truth" {
    few
    omendb query -q --distances -o found.npz v.omen q.npy
    expect 0 omendb query -q --distances -o found.hdf5 v.omen q.npy
    omendb query -q --distances -F hdf5 v.omen q.npy | cmp - found.hdf5
    omendb query -q --distances -o found.h5 v.omen q.npy
    cmp found.h5 found.hdf5
    omendb query -q -k 300 -F hdf5 v.omen q.npy >rows.h5
    "$(python_with numpy h5py)" - <<'END'
import h5py, numpy
want, file = numpy.load("found.npz"), h5py.File("found.hdf5")
numpy.save("numbers.npy", numpy.arange(1000, 1300).astype("u8"))
assert sorted(file) == ["distances", "neighbors"]
assert (file["neighbors"][:] == want["ids"]).all() and (file["distances"][:] == want["distances"]).all()
with h5py.File("benchmark.hdf5", "w") as out:
    out["test"], out["neighbors"] = numpy.load("q.npy"), h5py.File("rows.h5")["neighbors"][:, :50].astype("i4")
    out["far"], out["mixed"] = want["ids"] + 2**40, numpy.where(want["ids"] > 7, want["ids"], -1)
    out["unsigned"] = numpy.full((20, 10), 2**64 - 1, "u8")
END
    # of this library again
    expect 0 omendb info found.hdf5:neighbors
    expect 0 omendb bench -q v.omen --queries benchmark.hdf5:test --truth benchmark.hdf5:neighbors --recall 1
    fails_with 2 "is of float32: the numbers of rows are integers" \
        omendb bench -q v.omen --queries a.h5:test --truth found.hdf5:distances
    fails_with 2 "query 0 has the neighbour 10995" omendb bench -q v.omen --queries a.h5:test --truth benchmark.hdf5:far
    fails_with 2 "has the neighbour 18446744073709551615" \
        omendb bench -q v.omen --queries a.h5:test --truth benchmark.hdf5:unsigned
    fails_with 2 "after -1, the end" omendb bench -q v.omen --queries a.h5:test --truth benchmark.hdf5:mixed
    seq -f 'row %g' 300 >names
    omendb build -q --key names -o named.omen v.npy
    fails_with 2 "hdf5 cannot hold text" omendb query -F hdf5 named.omen q.npy
    omendb build -q --key numbers.npy -o numbered.omen v.npy
    omendb query -q -k 1 -o keys.hdf5 numbered.omen q.npy
    expect 0 omendb info keys.hdf5
    has "$output" "  dataset  keys, 20 x 1, uint64"
    has "$output" "  values   1000 to 1019"
    fails_with 4 "temporary copy of the results" env TMPDIR=/nonexistent "$OMENDB" query -F hdf5 v.omen q.npy
}
