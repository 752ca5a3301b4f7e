/* SPDX-License-Identifier: Apache-2.0 */
/* libhdf5, loaded when it is needed: as Debian builds it, it brings some thirty libraries with it, which would take
 * more time to load than a query takes. */
#include "formats/hdf5_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifndef OMEN_HDF5_LIBRARY

static int fail(omen_detail *reason)
{
    return omen_fail(reason, OMEN_ERR_INPUT, "this omendb was built without HDF5");
}

int omen_hdf5_open(omen_hdf5 **out, const omen_input *input, omen_detail *reason)
{
    *out = NULL;
    return fail(reason);
}

void omen_hdf5_close(omen_hdf5 *file)
{
}

int omen_hdf5_visit(omen_hdf5 *file, omen_hdf5_visit_fn visit, void *context, bool *is_all, omen_detail *reason)
{
    return fail(reason);
}

int omen_hdf5_find(omen_hdf5 *file, const char *name, omen_hdf5_dataset *out, omen_detail *reason)
{
    return fail(reason);
}

int omen_hdf5_locate(omen_hdf5 *file, const omen_hdf5_dataset *dataset, uint64_t *offset, bool *is_apart,
                     omen_detail *reason)
{
    return fail(reason);
}

int omen_hdf5_unpack(omen_hdf5 *file, const omen_hdf5_dataset *dataset, int fd, omen_progress_fn progress,
                     void *context, omen_detail *reason)
{
    return fail(reason);
}

int omen_hdf5_create(int *fd, omen_hdf5_array *arrays, size_t n, omen_detail *why)
{
    *fd = -1;
    return fail(why);
}

int omen_hdf5_check(omen_detail *reason)
{
    return fail(reason);
}

#else
#include "formats/hdf5_library.h"

#include <dlfcn.h>
#include <pthread.h>

#define RESERVE_BYTES ((size_t)32 << 20)

#define TEXT(x)    #x
#define NAME(x)    TEXT(x) /* of the function that a macro of hdf5.h stands for */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static omen_hdf5_library library;
static omen_detail fault;

static bool find(void *handle, const char *name, void *out)
{
    void *found = dlsym(handle, name);
    memcpy(out, &found, sizeof found);
    if (!found && fault.text[0] == '\0')
        omen_fail(&fault, OMEN_ERR_INPUT, "%s has no %s", OMEN_HDF5_LIBRARY, name);
    return found;
}

/* It prints nothing, loads no filters, follows no link to another file, and does nothing at the end of the process. */
static void load(void)
{
    unsigned major = 0, minor = 0, release = 0;
    void *handle = dlopen(OMEN_HDF5_LIBRARY, RTLD_LAZY | RTLD_LOCAL);
    if (!handle) {
        omen_fail(&fault, OMEN_ERR_INPUT, "HDF5 is read and written by a library that cannot be loaded: %s", dlerror());
        return;
    }
    bool is_whole = true;
#define FIND(name) is_whole &= find(handle, NAME(name), &library.name);
    OMEN_HDF5_FUNCTIONS(FIND)
    if (!is_whole)
        return;
    library.H5dont_atexit();
    if (library.H5get_libversion(&major, &minor, &release) < 0 || major != H5_VERS_MAJOR || minor != H5_VERS_MINOR) {
        omen_fail(&fault, OMEN_ERR_INPUT, "%s is of version %u.%u, not %u.%u", OMEN_HDF5_LIBRARY, major, minor,
                  H5_VERS_MAJOR, H5_VERS_MINOR);
        return;
    }
    if (library.H5open() < 0 || library.H5Eset_auto2(H5E_DEFAULT, NULL, NULL) < 0 ||
        library.H5PLset_loading_state(0) < 0 || library.H5Lunregister(H5L_TYPE_EXTERNAL) < 0)
        omen_fail(&fault, OMEN_ERR_INPUT, "%s cannot be used", OMEN_HDF5_LIBRARY);
    OMEN_HDF5_CONSTANTS(FIND)
}

int omen_hdf5_lock(const omen_hdf5_library **out, omen_detail *reason)
{
    /* libhdf5 does not survive the end of memory, which should not come within it */
    void *reserve = malloc(RESERVE_BYTES);
    *out = NULL;
    if (!reserve)
        return omen_fail(reason, OMEN_ERR_MEMORY, "out of memory for libhdf5");
    free(reserve);
    pthread_mutex_lock(&mutex);
    pthread_once(&once, load);
    *out = fault.text[0] == '\0' ? &library : NULL;
    if (*out)
        return OMEN_OK;
    pthread_mutex_unlock(&mutex);
    return omen_fail(reason, OMEN_ERR_INPUT, "%s", fault.text);
}

void omen_hdf5_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

int omen_hdf5_check(omen_detail *reason)
{
    const omen_hdf5_library *h5;
    const int status = omen_hdf5_lock(&h5, reason);
    if (status == OMEN_OK)
        omen_hdf5_unlock();
    return status;
}
#endif

bool omen_hdf5_is(const unsigned char *bytes, uint64_t n_bytes)
{
    static const char sign[] = "\x89HDF\r\n\x1a\n";
    return n_bytes >= sizeof sign - 1 && memcmp(bytes, sign, sizeof sign - 1) == 0;
}

bool omen_hdf5_is_file(const char *path, size_t n_path)
{
    unsigned char bytes[8];
    struct stat info;
    char *file = strndup(path, n_path);
    FILE *stream = file && stat(file, &info) == 0 && S_ISREG(info.st_mode) ? fopen(file, "rbe") : NULL;
    const bool is_it =
        stream && fread(bytes, 1, sizeof bytes, stream) == sizeof bytes && omen_hdf5_is(bytes, sizeof bytes);
    if (stream)
        fclose(stream);
    free(file);
    return is_it;
}
