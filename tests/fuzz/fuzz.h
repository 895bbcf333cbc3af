/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What fuzz_calls and fuzz_image share: the machine, what they print, and the entry
 * point.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "machine/expect.h"
#include "machine/handle.h"
#include "machine/machine.h"

/* Compares all bytes of the media, which is slow, instead of counting changes. */
extern bool fuzz_thorough;
/* Prints each step and its result. */
extern bool fuzz_verbose;
__attribute__((format(printf, 1, 2)))
void fuzz_log(const char *format, ...);

/* Runs one input. Called by libFuzzer and by replay.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
