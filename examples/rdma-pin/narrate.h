/* SPDX-License-Identifier: BSD-3-Clause */
/* Prints the demonstration line by line, as text or (--json) as JSON objects. */
#ifndef NARRATE_H
#define NARRATE_H

#include <stdbool.h>
#include <stdint.h>

void print_as_json(void);

/* Begins a part. Every later line belongs to it. */
void print_section(const char *name, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Adds a measured value to the next line's JSON object. */
void fact(const char *name, uint64_t value);

/* Prints a line about an event. */
void print_event(const char *step, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Prints a claim that was checked. A wrong one makes the exit status 1. */
bool claim(bool held, const char *step, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The number of claims so far that held, and that were wrong. */
unsigned int claims_held(void);
unsigned int claims_wrong(void);

/* Prints why the demonstration cannot continue, and exits with status 2. */
_Noreturn void give_up(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

uint64_t now_ns(void);
double ms_since(uint64_t then_ns);
void sleep_ms(unsigned int ms);

#endif
