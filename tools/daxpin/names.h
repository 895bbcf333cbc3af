/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NAMES_H
#define NAMES_H

#include <stddef.h>

/* In a sentence of the library, replace the names of its options by the options of the
 * command, or by what its user can do, except in paths. */
void names_replace(const char *command, const char *path, char *errmsg, size_t size);

#endif
