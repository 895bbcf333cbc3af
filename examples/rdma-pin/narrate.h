/* SPDX-License-Identifier: BSD-3-Clause */
/* Telling a story line by line, for people or (--json) for programs. */
#ifndef NARRATE_H
#define NARRATE_H

#include <stdbool.h>
#include <stdint.h>

void narrate_as_json(void);

/* Begin a story: every later line has this name. */
void story(const char *name, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A figure that was measured: joins the next line's JSON object. */
void fact(const char *name, uint64_t value);

/* A line that reports an event. */
void say(const char *step, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A line that asserts something: a wrong one makes exit status 1. */
bool claim(bool held, const char *step, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Claims so far that held, and that did not. */
unsigned int claims_held(void);
unsigned int claims_wrong(void);

/* The surroundings are at fault: one sentence, exit status 2. */
_Noreturn void give_up(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

uint64_t now_ns(void);
double ms_since(uint64_t then_ns);
void sleep_ms(unsigned int ms);

#endif
