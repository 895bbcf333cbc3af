/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin check, repair: check everything on media, repair it, or undo a repair. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <daxpin.h>
#include "command.h"
#include "json.h"
#include "names.h"
#include "show.h"
#include "table.h"

#define NAME_SIZE	512
#define SIZE_TEXT	32

struct check_values {
	const char *path;
	const char *backup;
	const char *restore;
	int json, repair, yes, any_node;
	uint64_t wait_s;
};

struct check {
	const struct command *command;
	struct check_values options;
	struct daxpin_pool_options pool;
	char errmsg[SHOW_ERRMSG];
	char backup[NAME_SIZE];
	struct json json;
	struct daxpin_check_summary summary;
	unsigned int derived, lossy;	/* damage that a repair can cure */
	unsigned int declined;		/* lossy cures that the user declined */
};

/* ------------------------------------------------------------- the options */

static int parse(const struct command *command, struct check_values *values, int argc,
		 char **argv)
{
	if (table_parse(command, argc, argv, values) < 0)
		return -1;
	values->path = argv[1];
	if (command == &repair_command)
		values->repair = 1;
	if ((values->yes || values->backup) && !values->repair)
		return table_refuse(&check_command,
				    values->yes ? "--yes" : "--backup",
				    "this option needs --repair");
	if (values->restore && (values->repair || values->json))
		return table_refuse(&check_command, "--restore",
				    "this option excludes --repair and --json");
	return 0;
}

/* -------------------------------------------------------------- the report */

static const char *const structure_name[] = {
	[DAXPIN_STRUCTURE_FILE] = "file",
	[DAXPIN_STRUCTURE_SUPERBLOCK] = "superblock",
	[DAXPIN_STRUCTURE_OWNER] = "owner",
	[DAXPIN_STRUCTURE_TABLE] = "table",
	[DAXPIN_STRUCTURE_LANE] = "lane",
	[DAXPIN_STRUCTURE_ROOT] = "root",
	[DAXPIN_STRUCTURE_DATA] = "data",
	[DAXPIN_STRUCTURE_SLAB] = "slab",
};

static const char *const severity_name[] = {
	[DAXPIN_SEVERITY_NOTE] = "note",
	[DAXPIN_SEVERITY_DAMAGE] = "damage",
};

static const char *const cure_name[] = {
	[DAXPIN_CURE_NONE] = "none",
	[DAXPIN_CURE_OPEN] = "open",
	[DAXPIN_CURE_DERIVED] = "derived",
	[DAXPIN_CURE_LOSSY] = "lossy",
};

static const char *const source_name[] = {
	[DAXPIN_SOURCE_DEVDAX] = "device-dax",
	[DAXPIN_SOURCE_FSDAX] = "DAX filesystem",
	[DAXPIN_SOURCE_SHMEM] = "shmem",
	[DAXPIN_SOURCE_DISK] = "disk",
};

static const char *size_text(uint64_t bytes, char text[SIZE_TEXT])
{
	if (!bytes)
		return "nothing";
	if (bytes % (1 << 20) == 0)
		snprintf(text, SIZE_TEXT, "%" PRIu64 " MiB", bytes >> 20);
	else
		snprintf(text, SIZE_TEXT, "%" PRIu64 " KiB", bytes >> 10);
	return text;
}

static void print_finding(const struct daxpin_finding *finding)
{
	printf("%-8s%s\n", severity_name[finding->severity], finding->what);
	if (!finding->remedy)
		return;
	printf("        %s%s\n", finding->cure == DAXPIN_CURE_OPEN ? "" :
	       finding->cure == DAXPIN_CURE_LOSSY ? "repair, with a loss: " :
	       "repair: ", finding->remedy);
}

static void json_finding(struct json *json,
			 const struct daxpin_finding *finding)
{
	json_object(json, NULL);
	json_string(json, "severity", severity_name[finding->severity]);
	json_string(json, "structure", structure_name[finding->structure]);
	json_number(json, "segment", finding->segment);
	json_number(json, "offset", finding->offset);
	json_number(json, "length", finding->length);
	json_string(json, "what", finding->what);
	json_string(json, "cure", cure_name[finding->cure]);
	json_string(json, "remedy", finding->remedy);
	json_end_object(json);
}

static void print_summary(const struct daxpin_check_summary *s)
{
	char a[SIZE_TEXT], b[SIZE_TEXT], c[SIZE_TEXT];

	if (!s->segments)
		return;
	printf("%s, %u segment(s) of %s, epoch %" PRIu64 ", %s\n",
	       source_name[s->source], s->segments,
	       size_text(s->segment_size, a), s->epoch,
	       s->unclean ? "not closed" : "closed");
	printf("%" PRIu64 " extent(s) of %s, %s free\n", s->extents,
	       s->extent_bytes ? size_text(s->extent_bytes, a) : "0 B",
	       size_text(s->free_bytes, b));
	printf("%" PRIu64 " object(s) in %" PRIu64 " slab(s) of 64 KiB\n", s->objects,
	       s->slabs);
	printf("%s in holes, %s quarantined, %s bad\n",
	       size_text(s->hole_bytes, a), size_text(s->quarantined_bytes, b),
	       size_text(s->bad_bytes, c));
	printf("%u root(s), %u of them stale; redo lanes: %u to complete, %u torn\n",
	       s->roots, s->roots_stale, s->lanes_open, s->lanes_torn);
}

static void json_summary(struct json *json,
			 const struct daxpin_check_summary *s)
{
	char uuid[33] = "";

	for (int i = 0; i < 16; i++)
		snprintf(uuid + 2 * i, 3, "%02x", s->uuid[i]);
	json_object(json, "pool");
	json_string(json, "source", source_name[s->source]);
	json_string(json, "uuid", uuid);
	json_number(json, "segments", s->segments);
	json_number(json, "segment_size", s->segment_size);
	json_number(json, "media_bytes", s->media_bytes);
	json_number(json, "epoch", s->epoch);
	json_bool(json, "unclean", s->unclean);
	json_number(json, "ignored_files", s->ignored_files);
	json_number(json, "extents", s->extents);
	json_number(json, "extent_bytes", s->extent_bytes);
	json_number(json, "free_bytes", s->free_bytes);
	json_number(json, "hole_bytes", s->hole_bytes);
	json_number(json, "quarantined_bytes", s->quarantined_bytes);
	json_number(json, "bad_bytes", s->bad_bytes);
	json_number(json, "used_words", s->used_words);
	json_number(json, "lanes_torn", s->lanes_torn);
	json_number(json, "lanes_open", s->lanes_open);
	json_number(json, "roots", s->roots);
	json_number(json, "roots_stale", s->roots_stale);
	json_number(json, "slabs", s->slabs);
	json_number(json, "objects", s->objects);
	json_end_object(json);
}

/* ----------------------------------------------------------------- the work */

/* Ask only on a terminal. */
static int agrees(const struct check *check)
{
	char answer[16] = "";

	if (check->options.yes)
		return 1;
	if (!isatty(STDIN_FILENO))
		return 0;
	fprintf(stderr, "Make this repair? Type yes: ");
	return fgets(answer, sizeof(answer), stdin) && !strcmp(answer, "yes\n");
}

static int on_finding(const struct daxpin_finding *finding, void *arg)
{
	struct check *check = arg;
	int damage = finding->severity == DAXPIN_SEVERITY_DAMAGE;

	check->derived += damage && finding->cure == DAXPIN_CURE_DERIVED;
	check->lossy += damage && finding->cure == DAXPIN_CURE_LOSSY;
	if (check->options.json)
		json_finding(&check->json, finding);
	else
		print_finding(finding);
	fflush(stdout);
	if (!check->options.repair || finding->cure != DAXPIN_CURE_LOSSY)
		return 0;
	if (agrees(check))
		return 1;
	check->declined++;
	return 0;
}

/* The default is a new file in the working directory. */
static void name_backup(struct check *check)
{
	const char *base = strrchr(check->options.path, '/');
	struct tm now;
	time_t clock = time(NULL);
	char stamp[32];

	if (check->options.backup) {
		snprintf(check->backup, sizeof(check->backup), "%s",
			 check->options.backup);
		return;
	}
	base = base && base[1] ? base + 1 : "pool";
	gmtime_r(&clock, &now);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &now);
	snprintf(check->backup, sizeof(check->backup), "./%.200s-%s.backup",
		 base, stamp);
}

static int look(struct check *check)
{
	struct check after = { .options = check->options };
	int ret;

	check->summary.size = sizeof(check->summary);
	if (!check->options.repair)
		return daxpin_check(check->options.path, &check->pool,
				    on_finding, check, &check->summary);
	name_backup(check);
	ret = daxpin_repair(check->options.path, &check->pool, check->backup,
			    on_finding, check, &check->summary);
	if (ret || !check->summary.repaired)
		return ret;
	/* The verdict is that of a second check, made after the repair. */
	after.summary.size = sizeof(after.summary);
	ret = daxpin_check(check->options.path, &check->pool, NULL, NULL,
			   &after.summary);
	after.summary.repaired = check->summary.repaired;
	check->summary = after.summary;
	return ret;
}

/* -EUCLEAN means that the pool is damaged. After any other error its condition is
 * unknown. */
static enum exit_status verdict(const struct check *check, int ret)
{
	if (ret)
		return ret == -EUCLEAN ? EXIT_DAMAGED : EXIT_UNKNOWN;
	return check->summary.damages ? EXIT_DAMAGED : EXIT_CLEAN;
}

static const char *const verdict_name[] = {
	[EXIT_CLEAN] = "clean",
	[EXIT_DAMAGED] = "damaged",
	[EXIT_UNKNOWN] = "cannot tell",
};

static void end_json(struct check *check, int ret, enum exit_status status)
{
	struct json *json = &check->json;
	int repaired = !ret && check->summary.repaired;

	json_end_array(json);
	if (!ret && check->summary.segments)
		json_summary(json, &check->summary);
	json_number(json, "damages", ret ? 0 : check->summary.damages);
	if (check->options.repair) {
		json_number(json, "repaired",
			    repaired ? check->summary.repaired : 0);
		json_string(json, "backup", repaired ? check->backup : NULL);
	}
	json_string(json, "verdict", verdict_name[status]);
	json_string(json, "why", ret ? check->errmsg : NULL);
	json_end_object(json);
}

static void end_text(struct check *check, int ret, enum exit_status status)
{
	const struct check_values *options = &check->options;

	if (ret) {
		fprintf(stderr, "daxpin %s: %s\n", check->command->name, check->errmsg);
		printf("%s: %s\n", options->path, verdict_name[status]);
		return;
	}
	print_summary(&check->summary);
	if (check->summary.repaired)
		printf("%u finding(s) repaired; to undo this: daxpin check --restore %s %s\n",
		       check->summary.repaired, check->backup, options->path);
	if (check->declined)
		printf("%u repair(s) that would lose data were not made: --yes makes them\n",
		       check->declined);
	printf("%s: %s\n", options->path, verdict_name[status]);
	if (status == EXIT_DAMAGED && !options->repair)
		printf("%u damage(s): `daxpin repair` repairs %u, and %u with a loss\n",
		       check->summary.damages, check->derived, check->lossy);
}

static int restore(struct check *check)
{
	int ret = daxpin_repair_undo(check->options.path, &check->pool,
				     check->options.restore);

	if (ret) {
		names_replace("check", check->options.path, check->errmsg,
			      sizeof(check->errmsg));
		fprintf(stderr, "daxpin check: %s\n", check->errmsg);
		return EXIT_UNKNOWN;
	}
	printf("%s: the metadata is as it was before the repair\n", check->options.path);
	return EXIT_CLEAN;
}

static int run(const struct command *command, int argc, char **argv)
{
	static struct check check;
	enum exit_status status;
	int ret;

	if (parse(command, &check.options, argc, argv))
		return EXIT_UNKNOWN;
	check.command = command;
	check.pool = (struct daxpin_pool_options) {
		.size = sizeof(check.pool),
		.flags = check.options.any_node ? DAXPIN_POOL_ANY_NODE : 0,
		.deadline_ns = check.options.wait_s ?
			daxpin_deadline_ms(check.options.wait_s * 1000) : 0,
		.errmsg = check.errmsg, .errmsg_size = sizeof(check.errmsg),
	};
	if (check.options.restore)
		return restore(&check);
	if (check.options.json) {
		check.json.out = stdout;
		json_object(&check.json, NULL);
		json_string(&check.json, "path", check.options.path);
		json_array(&check.json, "findings");
	}
	ret = look(&check);
	if (ret)
		names_replace(command->name, check.options.path, check.errmsg,
			      sizeof(check.errmsg));
	status = verdict(&check, ret);
	if (check.options.json)
		end_json(&check, ret, status);
	else
		end_text(&check, ret, status);
	return status;
}

static int run_check(int argc, char **argv)
{
	return run(&check_command, argc, argv);
}

static int run_repair(int argc, char **argv)
{
	return run(&repair_command, argc, argv);
}

/* What both commands have. */
#define OPTION_YES \
	{ "yes", NULL, OPTION_FLAG, offsetof(struct check_values, yes), \
	  "agree to every repair that loses data: do not ask" }
#define OPTION_BACKUP \
	{ "backup", "FILE", OPTION_TEXT, offsetof(struct check_values, backup), \
	  "save what a repair changes to this new file" }
#define OPTION_RESTORE \
	{ "restore", "FILE", OPTION_TEXT, offsetof(struct check_values, restore), \
	  "write the bytes of this backup back to the pool" }
#define OPTIONS_LAST \
	{ "json", NULL, OPTION_FLAG, offsetof(struct check_values, json), \
	  "print the report as one JSON object" }, \
	{ "wait", "SECONDS", OPTION_SECONDS, offsetof(struct check_values, wait_s), \
	  "wait so long for a process that has the pool open" }, \
	{ "any-node", NULL, OPTION_FLAG, offsetof(struct check_values, any_node), \
	  "accept a device node outside devtmpfs" }, \
	{ .name = NULL }

static const struct tool_option check_options[] = {
	{ "repair", NULL, OPTION_FLAG, offsetof(struct check_values, repair),
	  "restore what follows from the rest of the media" },
	OPTION_YES, OPTION_BACKUP, OPTION_RESTORE, OPTIONS_LAST,
};

static const struct tool_option repair_options[] = {
	OPTION_YES, OPTION_BACKUP, OPTIONS_LAST,
};

static const char exits[] =
	"Exits with 0 if the pool is clean, 1 if it is damaged, 2 if neither is known.";

const struct command check_command = {
	.name = "check",
	.summary = "check everything on a pool's media, and repair it",
	.help = "Checks the pool in a directory or on a device-dax node. Without --repair and\n"
		"--restore nothing is changed. The default of --backup is a new file in the\n"
		"working directory.",
	.exits = exits,
	.words = "PATH", .words_min = 1, .words_max = 1, .changes = 1,
	.options = check_options,
	.run = run_check,
};

const struct command repair_command = {
	.name = "repair",
	.summary = "as `check --repair`",
	.help = "Checks the pool, restores what follows from the rest of the media, and checks it\n"
		"again. A repair that loses data is made if you agree. The default of --backup is\n"
		"a new file in the working directory; `daxpin check --restore` undoes a repair.",
	.exits = exits,
	.words = "PATH", .words_min = 1, .words_max = 1, .changes = 1,
	.options = repair_options,
	.run = run_repair,
};
