/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Assertions about the library. If one fails, it prints the place and the reason, and
 * aborts.
 */
#ifndef MACHINE_EXPECT_H
#define MACHINE_EXPECT_H

__attribute__((noreturn, format(printf, 3, 4)))
void expect_failed(const char *file, int line, const char *format, ...);

#define expect(condition, ...) \
	((condition) ? (void)0 : expect_failed(__FILE__, __LINE__, __VA_ARGS__))

#endif
