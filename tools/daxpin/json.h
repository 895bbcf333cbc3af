/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes JSON to a stream, value by value. A key is NULL inside an array. The command
 * only writes JSON, which needs little more than the escaping of strings, so it does
 * not depend on a JSON library.
 */
#ifndef JSON_H
#define JSON_H

#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *out;
	unsigned int depth;
	int first;			/* the open object or array is empty so far */
};

/* The length of the UTF-8 character at the beginning of a text (RFC 3629), which is not
 * empty; 0: the bytes are not UTF-8. */
int json_character(const char *text);

void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
void json_end_object(struct json *json);
void json_end_array(struct json *json);
/* Bytes that are not UTF-8 are replaced by U+FFFD. NULL is written as null. */
void json_string(struct json *json, const char *key, const char *value);
void json_number(struct json *json, const char *key, uint64_t value);
void json_bool(struct json *json, const char *key, int value);

#endif
