/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <string.h>
#include "json.h"

int json_character(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	int more = at[0] < 0x80 ? 0 : at[0] < 0xc2 ? -1 : at[0] < 0xe0 ? 1 :
		   at[0] < 0xf0 ? 2 : at[0] < 0xf5 ? 3 : -1;

	for (int i = 1; i <= more; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	/* Refuse overlong forms, surrogates, and characters above U+10FFFF. */
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
	    (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return more + 1;
}

static void text(FILE *out, const char *value)
{
	const unsigned char *at = (const unsigned char *)value;

	putc('"', out);
	while (*at) {
		int length = json_character((const char *)at);

		if (!length)
			fputs("\\ufffd", out);
		else if (*at == '"' || *at == '\\')
			fprintf(out, "\\%c", *at);
		else if (*at < ' ' || *at == 0x7f)
			fprintf(out, "\\u%04x", *at);
		else
			fwrite(at, 1, length, out);
		at += length ? length : 1;
	}
	putc('"', out);
}

static void begin(struct json *json, const char *key)
{
	if (json->depth) {
		fputs(json->first ? "\n" : ",\n", json->out);
		fprintf(json->out, "%*s", 2 * json->depth, "");
	}
	json->first = 0;
	if (!key)
		return;
	text(json->out, key);
	fputs(": ", json->out);
}

static void open_with(struct json *json, const char *key, char bracket)
{
	begin(json, key);
	putc(bracket, json->out);
	json->depth++;
	json->first = 1;
}

static void close_with(struct json *json, char bracket)
{
	json->depth--;
	if (!json->first)
		fprintf(json->out, "\n%*s", 2 * json->depth, "");
	putc(bracket, json->out);
	json->first = 0;
	if (!json->depth)
		putc('\n', json->out);
}

void json_object(struct json *json, const char *key)
{
	open_with(json, key, '{');
}

void json_array(struct json *json, const char *key)
{
	open_with(json, key, '[');
}

void json_end_object(struct json *json)
{
	close_with(json, '}');
}

void json_end_array(struct json *json)
{
	close_with(json, ']');
}

void json_string(struct json *json, const char *key, const char *value)
{
	begin(json, key);
	if (value)
		text(json->out, value);
	else
		fputs("null", json->out);
}

void json_number(struct json *json, const char *key, uint64_t value)
{
	begin(json, key);
	fprintf(json->out, "%" PRIu64, value);
}

void json_bool(struct json *json, const char *key, int value)
{
	begin(json, key);
	fputs(value ? "true" : "false", json->out);
}
