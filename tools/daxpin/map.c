/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin map: how full each chunk of a pool is, even if another process has it open. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "show.h"
#include "table.h"

#define ROW	64u			/* cells; twice as many in a wide terminal */
#define ROW_ADDRESS	16u		/* columns */
#define CHUNK_BLOCKS (DAXPIN_CHUNK_SIZE / DAXPIN_BLOCK_SIZE)

struct map_values {
	int json;
	const char *svg;
};

struct map {
	unsigned char *cell;
	uint64_t cells;
	uint32_t cell_chunks;
	uint32_t *used;			/* blocks of each chunk, of a closed pool */
};

/* ------------------------------------------------------------ a closed pool */

static int map_add_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
			  uint64_t size, void *arg)
{
	struct map *map = arg;
	uint64_t end = extent.addr + size;

	(void)pool;
	for (uint64_t at = extent.addr; at < end; at += DAXPIN_BLOCK_SIZE)
		if (at / DAXPIN_CHUNK_SIZE < map->cells)
			map->used[at / DAXPIN_CHUNK_SIZE]++;
	return 0;
}

/* Chunks with metadata: one at the beginning of each segment, two if it is larger. */
static int map_is_meta(const struct show *show, uint64_t chunk)
{
	uint64_t in_segment = chunk % (show->info.segment_size / DAXPIN_CHUNK_SIZE);

	return in_segment < (show->info.segment_size > 512u << 20 ? 2 : 1);
}

/* Behind a short segment there is nothing. */
static void map_show_short(const struct show *show, struct map *map)
{
	uint64_t per_segment = show->info.segment_size / DAXPIN_CHUNK_SIZE;
	struct daxpin_segment segment;
	uint64_t chunks;

	for (uint32_t i = 0; !daxpin_segment(show->pool, i, &segment); i++) {
		chunks = segment.size / DAXPIN_CHUNK_SIZE;
		if (chunks == per_segment)
			continue;
		memset(map->cell + i * per_segment + chunks, DAXPIN_CELL_HOLE,
		       per_segment - chunks);
		if (i + 1 == show->info.segments)
			map->cells -= per_segment - chunks;
	}
}

static int map_of_pool(const struct show *show, struct map *map)
{
	uint64_t per_segment = show->info.segment_size / DAXPIN_CHUNK_SIZE;

	map->cells = show->info.segments * per_segment;
	map->cell_chunks = 1;
	map->cell = malloc(map->cells);
	map->used = calloc(map->cells, sizeof(*map->used));
	if (!map->cell || !map->used)
		return -ENOMEM;
	daxpin_foreach(show->pool, map_add_extent, map);
	for (uint64_t i = 0; i < map->cells; i++)
		map->cell[i] = map_is_meta(show, i) ? DAXPIN_CELL_META :
			(map->used[i] * 100 + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS;
	map_show_short(show, map);
	return 0;
}

static int map_of_page(const struct show *show, struct map *map)
{
	map->cells = show->about.cells;
	map->cell_chunks = show->about.cell_chunks;
	map->cell = malloc(map->cells + 1);
	if (!map->cell)
		return -ENOMEM;
	memcpy(map->cell, daxpin_status_cells(show->status), map->cells);
	return 0;
}

/* --------------------------------------------------------------- the output */

static char map_character(unsigned char cell)
{
	if (cell == DAXPIN_CELL_META)
		return 'M';
	if (cell == DAXPIN_CELL_HOLE)
		return '_';
	if (cell >= 100)
		return '#';
	return cell ? (char)('0' + cell / 10) : '.';
}

static enum show_colour map_text_colour(unsigned char cell)
{
	if (cell == DAXPIN_CELL_META)
		return SHOW_BLUE;
	if (cell == DAXPIN_CELL_HOLE || !cell)
		return SHOW_PLAIN;
	return cell < 50 ? SHOW_GREEN : cell < 90 ? SHOW_YELLOW : SHOW_RED;
}

/* Print the cells up to `end`, with an escape sequence where the colour changes. */
static void map_print_row(const struct map *map, uint64_t begin, uint64_t end)
{
	enum show_colour now = SHOW_PLAIN, next;

	printf("0x%012" PRIx64 "  ", begin * map->cell_chunks * DAXPIN_CHUNK_SIZE);
	for (uint64_t i = begin; i < end && i < map->cells; i++) {
		next = map_text_colour(map->cell[i]);
		if (next != now)
			fputs(show_colour(next), stdout);
		now = next;
		putchar(map_character(map->cell[i]));
	}
	printf("%s\n", now ? show_colour(SHOW_PLAIN) : "");
}

static void map_print(const struct show *show, const struct map *map)
{
	uint32_t row = ROW;
	char text[SHOW_TEXT];

	show_origin(show);
	if (show_columns() >= (int)(ROW_ADDRESS + 2 * ROW))
		row = 2 * ROW;
	for (uint64_t i = 0; i < map->cells; i += row)
		map_print_row(map, i, i + row);
	printf("a character is %s: . free, 0 to 9 tenths in use, # full,\nM metadata%s\n",
	       show_bytes((uint64_t)map->cell_chunks * DAXPIN_CHUNK_SIZE, text),
	       show->status ? ", _ hole" : "; holes are shown as free");
}

static void map_json(const struct show *show, const struct map *map)
{
	struct json json = { .out = stdout };

	json_object(&json, NULL);
	show_json_origin(show, &json);
	json_number(&json, "cell_bytes",
		    (uint64_t)map->cell_chunks * DAXPIN_CHUNK_SIZE);
	json_array(&json, "cells");
	for (uint64_t i = 0; i < map->cells; i++) {
		if (map->cell[i] == DAXPIN_CELL_META)
			json_string(&json, NULL, "metadata");
		else if (map->cell[i] == DAXPIN_CELL_HOLE)
			json_string(&json, NULL, "hole");
		else
			json_number(&json, NULL, map->cell[i]);
	}
	json_end_array(&json);
	json_end_object(&json);
}

static const char *map_colour(unsigned char cell, char text[SHOW_TEXT])
{
	unsigned int light;

	if (cell == DAXPIN_CELL_META)
		return "#7a5195";
	if (cell == DAXPIN_CELL_HOLE)
		return "#ffffff";
	light = 235 - (cell > 100 ? 100 : cell) * 2;
	snprintf(text, SHOW_TEXT, "#%02x%02x%02x", light, light, 235);
	return text;
}

static void map_draw_cell(FILE *out, const struct map *map, uint64_t i)
{
	char colour[SHOW_TEXT];
	unsigned char cell = map->cell[i];

	fprintf(out, "<rect x=\"%" PRIu64 "\" y=\"%" PRIu64 "\" width=\"9\" height=\"9\" fill=\"%s\" stroke=\"#999\" stroke-width=\"0.5\"><title>0x%" PRIx64 ": ",
		i % ROW * 10, i / ROW * 10, map_colour(cell, colour),
		i * map->cell_chunks * DAXPIN_CHUNK_SIZE);
	if (cell == DAXPIN_CELL_META)
		fputs("metadata", out);
	else if (cell == DAXPIN_CELL_HOLE)
		fputs("hole", out);
	else
		fprintf(out, "%u %% in use", cell);
	fputs("</title></rect>\n", out);
}

/* Below the cells: what their colours mean. */
static void map_draw_legend(FILE *out, uint64_t y)
{
	static const struct {
		unsigned char cell;
		const char *text;
	} legend[] = {
		{ 0, "free" }, { 25, "25 %" }, { 50, "50 %" }, { 75, "75 %" },
		{ 100, "in use" }, { DAXPIN_CELL_META, "metadata" },
		{ DAXPIN_CELL_HOLE, "hole" },
	};
	char colour[SHOW_TEXT];

	fputs("<g id=\"legend\" font-family=\"sans-serif\" font-size=\"9\">\n", out);
	for (unsigned int i = 0; i < sizeof(legend) / sizeof(legend[0]); i++)
		fprintf(out, "<rect x=\"%u\" y=\"%" PRIu64 "\" width=\"9\" height=\"9\" fill=\"%s\" stroke=\"#999\" stroke-width=\"0.5\"/><text x=\"%u\" y=\"%" PRIu64 "\">%s</text>\n",
			i * 80, y, map_colour(legend[i].cell, colour), i * 80 + 13,
			y + 8, legend[i].text);
	fputs("</g>\n", out);
}

static void map_draw_all(FILE *out, const struct map *map)
{
	uint64_t height = (map->cells + ROW - 1) / ROW * 10 + 30;

	fprintf(out, "<svg xmlns=\"http:" "//www.w3.org/2000/svg\" width=\"%u\" height=\"%" PRIu64 "\" viewBox=\"-5 -5 %u %" PRIu64 "\">\n",
		2 * (ROW * 10 + 10), 2 * height, ROW * 10 + 10, height);
	fputs("<rect x=\"-5\" y=\"-5\" width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", out);
	for (uint64_t i = 0; i < map->cells; i++)
		map_draw_cell(out, map, i);
	map_draw_legend(out, height - 20);
	fputs("</svg>\n", out);
}

static int map_draw(struct show *show, const struct map *map, const char *name)
{
	FILE *out = fopen(name, "wxe");
	int failed;

	if (out) {
		map_draw_all(out, map);
		failed = ferror(out);
		if (!fclose(out) && !failed)
			return 0;
	}
	show->error = -errno;
	snprintf(show->errmsg, sizeof(show->errmsg), "--svg %s: %s", name,
		 strerror(errno));
	return -1;
}

static int map_show(struct show *show, const struct map_values *values)
{
	struct map map = { .cells = 0 };
	int ret = show->status ? map_of_page(show, &map) : map_of_pool(show, &map);

	if (ret) {
		show->error = ret;
		snprintf(show->errmsg, sizeof(show->errmsg), "out of memory");
	} else if (values->svg) {
		ret = map_draw(show, &map, values->svg);
	} else if (values->json) {
		map_json(show, &map);
	} else {
		map_print(show, &map);
	}
	free(map.cell);
	free(map.used);
	return ret ? show_fail(show, values->json) : 0;
}

static int run(int argc, char **argv)
{
	struct map_values values = { 0 };
	struct show show;
	int ret;

	if (table_parse(&map_command, argc, argv, &values) < 0)
		return EXIT_UNKNOWN;
	if (show_open(&show, "map", argv[1], values.json))
		return EXIT_UNKNOWN;
	ret = map_show(&show, &values);
	show_close(&show);
	return ret ? EXIT_UNKNOWN : EXIT_CLEAN;
}

static const struct tool_option options[] = {
	{ "json", NULL, OPTION_FLAG, offsetof(struct map_values, json),
	  "print one JSON object" },
	{ "svg", "FILE", OPTION_TEXT, offsetof(struct map_values, svg),
	  "draw the map into this new file instead" },
	{ .name = NULL },
};

const struct command map_command = {
	.name = "map",
	.summary = "how full each chunk of a pool is",
	.help = "Shows a character for each chunk of 2 MiB, or for several in a pool of more than\n"
		"128 GiB that is in use.",
	.words = "PATH", .words_min = 1, .words_max = 1,
	.options = options,
	.run = run,
};
