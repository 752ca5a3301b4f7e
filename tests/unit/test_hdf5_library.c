/* SPDX-License-Identifier: Apache-2.0 */
/* libhdf5 that cannot be loaded, or is another one; memory that ends while a file of HDF5 is read or written, and a
 * disk that is full. */
#include "formats/hdf5_library.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/vectors.h"
#include "tests/unit/check.h"
#include "tests/unit/failing_allocations.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

#define N_ROWS 40u
#define DIM    60u

/* ---- loading ---- */

static const char *missing;  /* what dlopen() or dlsym() does not find; NULL: nothing */
static const char *replaced; /* what another function is found for */
static void *replacement;

void *__real_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags);
void *__real_dlsym(void *handle, const char *name);
void *__wrap_dlsym(void *handle, const char *name);

void *__wrap_dlopen(const char *name, int flags)
{
    return missing && strstr(name, missing) ? __real_dlopen("/nowhere/libhdf5.so", flags) : __real_dlopen(name, flags);
}

void *__wrap_dlsym(void *handle, const char *name)
{
    if (missing && strstr(name, missing))
        return NULL;
    return replaced && strcmp(name, replaced) == 0 ? replacement : __real_dlsym(handle, name);
}

static herr_t another_major(unsigned *major, unsigned *minor, unsigned *release)
{
    *major = H5_VERS_MAJOR + 1;
    *minor = *release = H5_VERS_MINOR;
    return 0;
}

static herr_t another_minor(unsigned *major, unsigned *minor, unsigned *release)
{
    *major = H5_VERS_MAJOR;
    *minor = H5_VERS_MINOR + 1;
    *release = 0;
    return 0;
}

static herr_t no_version(unsigned *major, unsigned *minor, unsigned *release)
{
    (void)major, (void)minor, (void)release;
    return -1;
}

static herr_t no_open(void)
{
    return -1;
}

static herr_t no_error_handler(hid_t stack, H5E_auto2_t handler, void *context)
{
    (void)stack, (void)handler, (void)context;
    return -1;
}

static herr_t no_loading_state(unsigned state)
{
    (void)state;
    return -1;
}

static herr_t no_unregistering(H5L_type_t type)
{
    (void)type;
    return -1;
}

/* In a process of its own, since it is loaded once: it is refused, each time, and says why. */
static void test_loading(void)
{
    static const struct {
        const char *missing, *replaced;
        void *replacement;
        const char *part;
    } cases[] = {{"hdf5", NULL, NULL, "by a library that cannot be loaded"},
                 {"H5Dread_chunk", NULL, NULL, "has no H5Dread_chunk"},
                 {"H5", NULL, NULL, "has no H5open"},
                 {"H5T_STD_U64LE_g", NULL, NULL, "has no H5T_STD_U64LE_g"},
                 {NULL, "H5get_libversion", (void *)another_major, "is of version"},
                 {NULL, "H5get_libversion", (void *)another_minor, "is of version"},
                 {NULL, "H5get_libversion", (void *)no_version, "is of version"},
                 {NULL, "H5open", (void *)no_open, "cannot be used"},
                 {NULL, "H5Eset_auto2", (void *)no_error_handler, "cannot be used"},
                 {NULL, "H5PLset_loading_state", (void *)no_loading_state, "cannot be used"},
                 {NULL, "H5Lunregister", (void *)no_unregistering, "cannot be used"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = -1;
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            bool is_right = true;
            missing = cases[i].missing;
            replaced = cases[i].replaced;
            replacement = cases[i].replacement;
            for (int again = 0; again < 2; again++) {
                omen_hdf5_array array = {.name = "a", .value = OMEN_VALUE_F4, .n = 1, .d = 1};
                int fd;
                detail.text[0] = '\0';
                is_right &= omen_hdf5_check(&detail) == OMEN_ERR_INPUT && strstr(detail.text, cases[i].part);
                is_right &= omen_hdf5_create(&fd, &array, 1, &detail) == OMEN_ERR_INPUT && fd == -1;
            }
            if (!is_right)
                fprintf(stderr, "# case %zu: %s\n", i, detail.text);
            exit(is_right ? 0 : 1);
        }
        CHECK_CASE(child > 0 && waitpid(child, &status, 0) == child && status == 0, "case %zu: %d", i, status);
    }
}

/* ---- reading ---- */

static void make_file(const char *name, bool is_compact)
{
    static float values[N_ROWS * DIM];
    static const hsize_t shape[2] = {N_ROWS, DIM}, chunk[2] = {7, 13};
    const hid_t file = H5Fcreate(path_of(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t plan = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, shape, NULL);
    for (unsigned i = 0; i < N_ROWS * DIM; i++)
        values[i] = value_at(i / DIM, i % DIM);
    CHECK(is_compact ? H5Pset_layout(plan, H5D_COMPACT) >= 0
                     : H5Pset_chunk(plan, 2, chunk) >= 0 && H5Pset_deflate(plan, 1) >= 0);
    const hid_t id = H5Dcreate2(file, "v", H5T_IEEE_F32LE, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    CHECK(H5Dwrite(id, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(id);
    H5Sclose(space);
    H5Pclose(plan);
    CHECK(H5Fclose(file) >= 0);
}

static int read_file(const char *name)
{
    omen_vectors *vectors = NULL;
    float row[DIM];
    unsigned bad = 0;
    int status = omen_vectors_open(&vectors, path_of(name), NULL, &detail);
    if (status == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        for (uint64_t i = 0; i < source.n_rows && status == OMEN_OK; i++) {
            status = source.read(source.self, i, 1, row, &detail);
            for (unsigned j = 0; j < DIM && status == OMEN_OK; j++)
                bad += row[j] != value_at(i, j);
        }
        CHECK(bad == 0 && source.n_rows == N_ROWS);
    }
    omen_vectors_close(vectors);
    return status;
}

static int create_arrays(void)
{
    omen_hdf5_array arrays[2] = {{.name = "a", .value = OMEN_VALUE_I8, .n = 3, .d = 2},
                                 {.name = "b", .value = OMEN_VALUE_U8, .n = 0, .d = 2}};
    int fd;
    const int status = omen_hdf5_create(&fd, arrays, 2, &detail);
    CHECK((status == OMEN_OK) == (fd >= 0));
    if (fd >= 0)
        close(fd);
    return status;
}

static void test_memory(void)
{
    for (int f = 0; f < 3; f++) {
        const char *name = f == 0 ? "chunks.h5" : "compact.h5";
        allocations_begin(0);
        CHECK_EQ_INT(f < 2 ? read_file(name) : create_arrays(), OMEN_OK);
        const uint64_t n = allocations_end();
        CHECK(n > 0);
        for (uint64_t i = 1; i <= n; i++) {
            detail.text[0] = '\0';
            allocations_begin(i);
            const int status = f < 2 ? read_file(name) : create_arrays();
            allocations_end();
            CHECK_CASE(status == OMEN_ERR_MEMORY && detail.text[0] != '\0', "%d, allocation %llu: %d, %s", f,
                       (unsigned long long)i, status, detail.text);
        }
    }
}

/* The temporary copy of what is in chunks, or with the description, does not fit. */
static void test_full_disk(void)
{
    struct rlimit was, few;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &was) == 0);
    few = was;
    for (few.rlim_cur = 0; few.rlim_cur < N_ROWS * DIM * 4; few.rlim_cur += 1999)
        for (int f = 0; f < 2; f++) {
            CHECK(setrlimit(RLIMIT_FSIZE, &few) == 0);
            const int status = read_file(f ? "compact.h5" : "chunks.h5");
            CHECK(setrlimit(RLIMIT_FSIZE, &was) == 0);
            CHECK_EQ_INT(status, OMEN_ERR_IO);
            CHECK_STR_CONTAINS(detail.text, "cannot write the temporary copy of");
        }
}

/* Chunks without a size are refused, whatever has made them. */
static hsize_t chunk_shape[2];

static int say_chunk(hid_t plan, int n, hsize_t *shape)
{
    (void)plan;
    shape[0] = chunk_shape[0];
    shape[1] = chunk_shape[1];
    return n;
}

static void test_no_size(void)
{
    const omen_hdf5_library *found;
    CHECK_EQ_INT(omen_hdf5_lock(&found, &detail), OMEN_OK);
    omen_hdf5_unlock();
    omen_hdf5_library *h5 = (omen_hdf5_library *)found; /* which is no constant */
    const omen_hdf5_library whole = *found;
    h5->H5Pget_chunk = say_chunk;
    for (int i = 0; i < 3; i++) {
        chunk_shape[0] = i & 1;
        chunk_shape[1] = i & 2;
        CHECK_EQ_INT(read_file("chunks.h5"), OMEN_ERR_INPUT);
        CHECK_STR_CONTAINS(detail.text, "its chunks have no size");
    }
    *h5 = whole;
    CHECK_EQ_INT(read_file("chunks.h5"), OMEN_OK);
}

int main(void)
{
    directory_make();
    setenv("TMPDIR", directory, 1);
    RUN(test_loading);
    CHECK_EQ_INT(omen_hdf5_check(&detail), OMEN_OK); /* before the first call of libhdf5 of this test's own */
    make_file("chunks.h5", false);
    make_file("compact.h5", true);
    RUN(test_memory);
    RUN(test_full_disk);
    RUN(test_no_size);
    directory_remove();
    return check_finish();
}
