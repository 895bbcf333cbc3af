/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "narrate.h"

#define FACTS_MAX	8

static bool json;
static const char *section_name = "";
static uint64_t begin_ns;
static unsigned int held_count, wrong_count, facts;
static struct {
	const char *name;
	uint64_t value;
} measured[FACTS_MAX];

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

double ms_since(uint64_t then_ns)
{
	return (double)(now_ns() - then_ns) / 1e6;
}

void sleep_ms(unsigned int ms)
{
	struct timespec time = {
		.tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000,
	};

	nanosleep(&time, NULL);
}

void print_as_json(void)
{
	json = true;
}

static void put_quoted(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		if ((unsigned char)*text < ' ')
			printf("\\u%04x", (unsigned char)*text);
		else
			putchar(*text);
	}
	putchar('"');
}

static void put_json(const char *mark, const char *step, const char *text)
{
	unsigned int i;

	printf("{\"section\": ");
	put_quoted(section_name);
	printf(", \"step\": ");
	put_quoted(step);
	if (*mark)
		printf(", \"held\": %s", *mark == 'o' ? "true" : "false");
	printf(", \"seconds\": %.6f", ms_since(begin_ns) / 1e3);
	for (i = 0; i < facts; i++)
		printf(", \"%s\": %llu", measured[i].name,
		       (unsigned long long)measured[i].value);
	printf(", \"text\": ");
	put_quoted(text);
	puts("}");
}

static void print_line(const char *mark, const char *step, const char *format,
		       va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof(text), format, args);
	if (json)
		put_json(mark, step, text);
	else
		printf("%8.3f s  %-5s  %s\n", ms_since(begin_ns) / 1e3, mark,
		       text);
	fflush(stdout);
	facts = 0;
}

void print_section(const char *name, const char *format, ...)
{
	va_list args;

	if (!begin_ns)
		begin_ns = now_ns();
	section_name = name;
	va_start(args, format);
	if (json) {
		print_line("", "begin", format, args);
	} else {
		printf("\n%s: ", name);
		vprintf(format, args);
		putchar('\n');
	}
	va_end(args);
	fflush(stdout);
}

void fact(const char *name, uint64_t value)
{
	if (facts == FACTS_MAX)
		return;
	measured[facts].name = name;
	measured[facts].value = value;
	facts++;
}

void print_event(const char *step, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_line("", step, format, args);
	va_end(args);
}

bool claim(bool held, const char *step, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_line(held ? "ok" : "WRONG", step, format, args);
	va_end(args);
	*(held ? &held_count : &wrong_count) += 1;
	return held;
}

unsigned int claims_held(void)
{
	return held_count;
}

unsigned int claims_wrong(void)
{
	return wrong_count;
}

void give_up(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "rdma-pin: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}
