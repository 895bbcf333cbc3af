/* SPDX-License-Identifier: BSD-3-Clause */
/* What both targets share: the machine, what they print, and the entry. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "machine/expect.h"
#include "machine/handle.h"
#include "machine/machine.h"

/* Look at all bytes, not only at what was counted: slow. */
extern bool fuzz_thorough;
/* Print what is done and what came of it. */
extern bool fuzz_verbose;
__attribute__((format(printf, 1, 2)))
void fuzz_say(const char *format, ...);

/* One input; the fuzzers' entry, and that of replay.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
