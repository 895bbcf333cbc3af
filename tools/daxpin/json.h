/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON on a stream, as it comes. A key is NULL inside an array. Written here
 * because what is needed of a JSON library is the escaping of strings: no tree
 * is built, nothing is parsed, and the command has no dependency for it.
 */
#ifndef JSON_H
#define JSON_H

#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *out;
	unsigned int depth;
	int first;			/* nothing stands in it yet */
};

void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
void json_end_object(struct json *json);
void json_end_array(struct json *json);
/* What is not UTF-8 becomes U+FFFD; NULL becomes null. */
void json_string(struct json *json, const char *key, const char *value);
void json_number(struct json *json, const char *key, uint64_t value);
void json_bool(struct json *json, const char *key, int value);

#endif
