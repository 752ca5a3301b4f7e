/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the eigensolver share. Private to lib/eigen*.c. */
#ifndef OMEN_EIGEN_PARTS_H
#define OMEN_EIGEN_PARTS_H

#include "lib/eigen.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define EIGEN_GRAM_ROWS   16u        /* rows made orthogonal at once */
#define EIGEN_SERIAL_MOST (1u << 22) /* multiply-adds that are not worth waking other threads */

/* Floats between rows of n values: not a multiple of a large power of two, which would fight for few cache lines. */
static inline size_t omen_eigen_stride(size_t n)
{
    return omen_round_up(n, OMEN_PANEL) + OMEN_PANEL;
}

/* ---- eigen_product.c ---- */

/* panels: the columns [0, n) of rows (n_k x n), for products with them. */
void omen_eigen_pack(const float *rows, size_t n_k, size_t n, size_t ld, float *panels);

/* c (m x n) = a (m x n_k) times panels (n_k x n), by all threads; rows of c have room for n rounded up to 16. */
void omen_eigen_multiply(const float *a, size_t lda, size_t m, const float *panels, size_t n, size_t n_k, float *c,
                         size_t ldc, omen_watch *watch);

/* ---- eigen_dense.c ---- */

/* The eigenvectors of the m largest eigenvalues of a (n x n, both triangles; overwritten), by falling value; not yet
 * orthonormal to more than some 1e-6. Returns OMEN_OK, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_eigen_dense(double *a, size_t n, size_t m, float *vectors, size_t ld, double *values,
                     omen_watch *watch) OMEN_MUST_CHECK;

/* Memory of it, in bytes, but for its matrix. */
uint64_t omen_eigen_dense_bytes(uint64_t n);

#endif
