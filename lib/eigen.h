/* SPDX-License-Identifier: Apache-2.0 */
/* Eigenvectors of symmetric matrices: the same bits for every thread count, SIMD level and processor. */
#ifndef OMEN_EIGEN_H
#define OMEN_EIGEN_H

#include "lib/watch.h"

/* Orthonormal vectors that capture the most of a symmetric positive semidefinite matrix: vectors (m x n, rows ld >= n
 * rounded up to 16 floats apart) by falling value, values[r] = v_r' A v_r. Where m is more than about half of n they
 * are the eigenvectors of the m largest eigenvalues; where it is less, the best vectors of a space that holds as much,
 * to within 1e-4 of the sum of the values. matrix is n x n; only its upper triangle is read; it is overwritten.
 * Its largest absolute value should be between 1e-10 and 1e10. 1 <= m <= n. Returns OMEN_OK, OMEN_ERR_MEMORY or
 * OMEN_ERR_INTERRUPTED. */
int omen_eigen_top(double *matrix, size_t n, size_t m, float *vectors, size_t ld, double *values,
                   omen_watch *watch) OMEN_MUST_CHECK;

/* Upper bound, in bytes, of the memory that it allocates. */
uint64_t omen_eigen_bytes(uint64_t n, uint64_t m);

/* Makes rows (m x n, m <= n, ld >= n rounded up to 16 floats apart) orthonormal by Gram-Schmidt: of each row the part
 * orthogonal to the rows before it is kept, and a row without such a part is replaced. Returns as above. */
int omen_eigen_orthonormalise(float *rows, size_t m, size_t n, size_t ld, omen_watch *watch) OMEN_MUST_CHECK;

#endif
