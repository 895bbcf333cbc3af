/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text: a line with its kind, the pool's uuid, three lines for each change, and a
 * checksum of everything. It can be read, and restored by hand.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "check/patch.h"

#define TITLE		"daxpin backup 1\n"
#define LENGTH_MAX	DP_BLOCK_SIZE
/* The length of a change's three lines without the digits. */
#define LINES_SIZE	128

int dp_patches_add(struct dp_patches *patches, uint32_t segment,
		   uint64_t offset, const void *old, const void *new,
		   uint32_t length)
{
	struct dp_patch *more, *patch;
	uint8_t *bytes;

	assert(length && length <= LENGTH_MAX);
	assert(offset + length <= DP_SEGMENT_SIZE_MAX);
	more = realloc(patches->patch, (patches->count + 1) * sizeof(*more));
	bytes = malloc(2 * length);
	if (more)
		patches->patch = more;
	if (!more || !bytes) {
		free(bytes);
		return -ENOMEM;
	}
	patch = &more[patches->count++];
	*patch = (struct dp_patch) {
		.segment = segment, .length = length, .offset = offset,
		.old = bytes, .new = bytes + length,
	};
	memcpy(patch->old, old, length);
	memcpy(patch->new, new, length);
	return 0;
}

void dp_patches_fini(struct dp_patches *patches)
{
	for (size_t i = 0; i < patches->count; i++)
		free(patches->patch[i].old);
	free(patches->patch);
	patches->patch = NULL;
	patches->count = 0;
}

/* ------------------------------------------------------------------ as text */

struct text {
	char *at;
	const char *end;
};

__attribute__((format(printf, 2, 3)))
static void patch_put(struct text *text, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text->at, text->end - text->at, format, ap);
	va_end(ap);
	assert(n >= 0 && n < text->end - text->at);
	text->at += n;
}

static void patch_put_bytes(struct text *text, const char *name,
			    const uint8_t *bytes, uint32_t length)
{
	patch_put(text, "%s ", name);
	for (uint32_t i = 0; i < length; i++)
		patch_put(text, "%02x", bytes[i]);
	patch_put(text, "\n");
}

int dp_patches_format(const struct dp_patches *patches, char **ret_text,
		      size_t *ret_size)
{
	size_t size = 4 * LINES_SIZE;
	struct text text;
	char *begin;

	for (size_t i = 0; i < patches->count; i++)
		size += LINES_SIZE + 4 * patches->patch[i].length;
	begin = malloc(size);
	if (!begin)
		return -ENOMEM;
	text = (struct text) { begin, begin + size };
	patch_put(&text, TITLE);
	patch_put_bytes(&text, "uuid", patches->uuid, 16);
	for (size_t i = 0; i < patches->count; i++) {
		const struct dp_patch *patch = &patches->patch[i];

		patch_put(&text, "segment %" PRIu32 " offset 0x%" PRIx64
			  " length %" PRIu32 "\n",
			  patch->segment, patch->offset, patch->length);
		patch_put_bytes(&text, "old", patch->old, patch->length);
		patch_put_bytes(&text, "new", patch->new, patch->length);
	}
	patch_put(&text, "end %016" PRIx64 "\n",
		  dp_layout_digest(begin, text.at - begin));
	*ret_text = begin;
	*ret_size = text.at - begin;
	return 0;
}

/* Parse a line with that name and `length` bytes in hexadecimal. Returns what follows
 * the line, or NULL if it has another form. */
static const char *patch_get_bytes(const char *at, const char *name,
				   uint8_t *bytes, uint32_t length)
{
	size_t skip = strlen(name);

	if (strncmp(at, name, skip) || at[skip] != ' ')
		return NULL;
	at += skip + 1;
	for (uint32_t i = 0; i < length; i++, at += 2) {
		int high = dp_hex_digit(at[0]);
		int low = high < 0 ? -1 : dp_hex_digit(at[1]);

		if (low < 0)
			return NULL;
		bytes[i] = high << 4 | low;
	}
	return *at == '\n' ? at + 1 : NULL;
}

static int patch_parse_one(struct dp_patches *patches, const char **at)
{
	uint8_t old[LENGTH_MAX], new[LENGTH_MAX];
	uint32_t segment, length;
	const char *next;
	uint64_t offset;
	int skip = 0;

	if (sscanf(*at, "segment %" SCNu32 " offset 0x%" SCNx64
		   " length %" SCNu32 "%n", &segment, &offset, &length,
		   &skip) != 3 || (*at)[skip] != '\n')
		return -EINVAL;
	if (segment >= DP_SEGMENTS_MAX || !length || length > LENGTH_MAX ||
	    offset > DP_SEGMENT_SIZE_MAX - length)
		return -EINVAL;
	next = patch_get_bytes(*at + skip + 1, "old", old, length);
	next = next ? patch_get_bytes(next, "new", new, length) : NULL;
	if (!next)
		return -EINVAL;
	*at = next;
	return dp_patches_add(patches, segment, offset, old, new, length);
}

static int patch_parse(struct dp_patches *patches, const char *text)
{
	const char *at = text + strlen(TITLE);
	uint64_t digest;
	int ret, skip = 0;

	if (strncmp(text, TITLE, strlen(TITLE)))
		return -EINVAL;
	at = patch_get_bytes(at, "uuid", patches->uuid, 16);
	if (!at)
		return -EINVAL;
	while (!strncmp(at, "segment ", 8)) {
		ret = patch_parse_one(patches, &at);
		if (ret)
			return ret;
	}
	if (sscanf(at, "end %" SCNx64 "%n", &digest, &skip) != 1 ||
	    strcmp(at + skip, "\n") ||
	    digest != dp_layout_digest(text, at - text))
		return -EINVAL;
	return 0;
}

int dp_patches_parse(struct dp_patches *patches, const char *text,
		     const struct dp_errmsg *errmsg)
{
	int ret;

	memset(patches, 0, sizeof(*patches));
	ret = patch_parse(patches, text);
	if (ret)
		dp_patches_fini(patches);
	if (ret == -EINVAL)
		return dp_fail(errmsg, ret,
			       "the backup file is damaged or incomplete, or was not made by a daxpin repair");
	return ret;
}
