/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma-client: puts files into an rdma-target and gets them back. It has no pool; it
 * uses only daxpin's parser of grants. Clients that break the rules are in
 * tests/lab/store_rude.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "conn.h"

#define ANSWER_MS	30000

static const char usage[] =
"usage: rdma-client [--adr] HOST[/PORT] put NAME FILE\n"
"       rdma-client HOST[/PORT] get NAME FILE\n"
"       rdma-client HOST[/PORT] retire NAME\n"
"\n"
"The commit of a put makes the block durable. --adr states that the target's\n"
"platform saves what a device writes (ADR, without DDIO); the data are then durable\n"
"before the commit.\n";

struct client {
	const char *host, *port;
	const char *name, *file;
	enum daxpin_platform platform;	/* what is known of the target's platform */
	struct conn conn;
	struct daxpin_grant_key key;	/* the current grant */
};

/* The data of a file, in registered memory. */
struct data {
	void *bytes;
	uint64_t size;
	struct ibv_mr *mr;
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "rdma-client: %s: %s\n", what, err == -EUCLEAN ?
		"this name of the pool is not of a block: another program has made it, so use another name" :
		strerror(-err));
	return err;
}

static int connect_to(struct client *client)
{
	int err;

	client->conn = (struct conn) { .stop_fd = -1 };
	err = conn_connect(&client->conn, client->host, client->port);
	return err ? fail(client->host, err) : 0;
}

static int ask(struct client *client, struct message *message)
{
	int err;

	message->version = STORE_VERSION;
	err = conn_send(&client->conn, message);
	if (!err)
		err = conn_receive(&client->conn, ANSWER_MS, message);
	if (!err)
		err = conn_expect(&client->conn);
	return err ? err : message->status;
}

static int ask_for_grant(struct client *client, struct message *message)
{
	int err;

	strcpy(message->name, client->name);
	err = ask(client, message);
	if (!err)
		err = daxpin_grant_import(message->grant,
					  sizeof(message->grant),
					  &client->key);
	return err ? fail(client->name, err) : 0;
}

/* ------------------------------------------------------------------- data */

static int data_register(struct client *client, struct data *data)
{
	data->mr = ibv_reg_mr(client->conn.id->qp->pd, data->bytes, data->size,
			      IBV_ACCESS_LOCAL_WRITE);
	return data->mr ? 0 : fail("memory region", -errno);
}

static int data_make(uint64_t size, struct data *data)
{
	void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		return fail("memory", -errno);
	*data = (struct data) { .bytes = bytes, .size = size };
	return 0;
}

static void data_free(struct data *data)
{
	if (data->mr)
		ibv_dereg_mr(data->mr);
	munmap(data->bytes, data->size);
}

static int read_all(int fd, struct data *data)
{
	for (uint64_t at = 0; at < data->size;) {
		ssize_t got = read(fd, (char *)data->bytes + at,
				   data->size - at);

		if (got <= 0)
			return got ? -errno : -EIO;
		at += (uint64_t)got;
	}
	return 0;
}

static int data_read(const char *file, struct data *data)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), err = 0;
	struct stat stat;

	if (fd < 0 || fstat(fd, &stat)) {
		err = -errno;
	} else if (!stat.st_size) {
		err = -ENODATA;
	} else {
		err = data_make((uint64_t)stat.st_size, data);
		if (!err)
			err = read_all(fd, data);
	}
	if (fd >= 0)
		close(fd);
	return err ? fail(file, err) : 0;
}

static int data_write(const char *file, const struct data *data)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int err = fd < 0 ? -errno : 0;

	for (uint64_t at = 0; !err && at < data->size;) {
		ssize_t put = write(fd, (char *)data->bytes + at,
				    data->size - at);

		if (put < 0)
			err = -errno;
		else
			at += (uint64_t)put;
	}
	if (fd >= 0 && close(fd) && !err)
		err = -errno;
	return err ? fail(file, err) : 0;
}

/* --------------------------------------------------------------- commands */

static int write_data(struct client *client, struct data *data)
{
	return conn_transfer(&client->conn, IBV_WR_RDMA_WRITE, data->mr, 0,
			     data->size, client->key.addr, client->key.rkey);
}

/* Makes the data durable before the target has read them. */
static int flush(struct client *client, struct data *data)
{
	char errmsg[256] = "";
	struct daxpin_flush_options options = {
		.size = sizeof(options), .platform = client->platform,
		.sink = { (uintptr_t)data->bytes + data->size - 1, 1,
			  data->mr->lkey },
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int err = daxpin_rdma_flush(client->conn.id->qp, &client->key, 0,
				    data->size, &options, NULL);

	if (err)
		fprintf(stderr, "rdma-client: flush: %s\n", errmsg);
	return err ? err : conn_complete(&client->conn);
}

static int put(struct client *client, struct data *data)
{
	struct message message = { .type = MESSAGE_PUT, .size = data->size };
	int err = ask_for_grant(client, &message);

	if (!err)
		err = data_register(client, data);
	if (err)
		return err;
	err = write_data(client, data);
	if (!err && client->platform)
		err = flush(client, data);
	if (err)
		return fail("write", err);
	message = (struct message) {
		.type = MESSAGE_COMMIT,
		.hash = XXH3_64bits(data->bytes, data->size),
	};
	err = ask(client, &message);
	return err ? fail("commit", err) : 0;
}

static int command_put(struct client *client)
{
	struct data data = { .mr = NULL };
	int err = data_read(client->file, &data);

	if (err)
		return err;
	err = put(client, &data);
	if (!err)
		printf("%s: %llu bytes\n", client->name,
		       (unsigned long long)data.size);
	data_free(&data);
	return err;
}

static int get(struct client *client, struct data *data, uint64_t hash)
{
	struct message message = { .type = MESSAGE_DONE };
	int err = data_register(client, data);

	if (err)
		return err;
	err = conn_transfer(&client->conn, IBV_WR_RDMA_READ, data->mr, 0,
			    data->size, client->key.addr, client->key.rkey);
	if (err)
		return fail("read", err);
	err = ask(client, &message);
	if (!err && XXH3_64bits(data->bytes, data->size) != hash)
		err = -EBADMSG;
	return err ? fail(client->name, err) : 0;
}

static int command_get(struct client *client)
{
	struct message message = { .type = MESSAGE_GET };
	struct data data = { .mr = NULL };
	int err = ask_for_grant(client, &message);

	if (!err)
		err = data_make(message.size, &data);
	if (err)
		return err;
	err = get(client, &data, message.hash);
	if (!err)
		err = data_write(client->file, &data);
	data_free(&data);
	return err;
}

static int command_retire(struct client *client)
{
	struct message message = { .type = MESSAGE_RETIRE };
	int err;

	strcpy(message.name, client->name);
	err = ask(client, &message);
	return err ? fail(client->name, err) : 0;
}

static const struct {
	const char *name;
	int arguments;
	int (*run)(struct client *client);
} commands[] = {
	{ "put", 5, command_put },
	{ "get", 5, command_get },
	{ "retire", 4, command_retire },
};

int main(int argc, char **argv)
{
	struct client client = { .port = STORE_PORT };
	char *slash;
	size_t i;
	int err;

	if (argc > 1 && !strcmp(argv[1], "--adr")) {
		client.platform = DAXPIN_PLATFORM_ADR_NO_DDIO;
		argc--;
		argv++;
	}

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc > 2 && argc == commands[i].arguments &&
		    !strcmp(argv[2], commands[i].name))
			break;
	if (i == sizeof(commands) / sizeof(commands[0]) ||
	    strlen(argv[3]) >= DAXPIN_ROOT_NAME_MAX)
		return fputs(usage, stderr), 2;
	slash = strchr(argv[1], '/');
	if (slash) {
		*slash = '\0';
		client.port = slash + 1;
	}
	client.host = argv[1];
	client.name = argv[3];
	client.file = argv[4];
	if (connect_to(&client))
		return 1;
	err = commands[i].run(&client);
	conn_close(&client.conn);
	return err ? 1 : 0;
}
