/* Time the collectives of a round and nothing else: floor CASES RESULTS

Each line of CASES has the collective, the uplink's bytes of a rank, the bits of a float that MPI sums, the downlink's bytes and the repetitions.
Rank 0 writes a line for each to RESULTS: the median of its microseconds, counted from a barrier. */

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 20, MOST_RANKS = 4096 };

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void collective(const char *kind, int bytes, int bits, int ranks, char *send, char *receive)
{
    static int counts[MOST_RANKS], starts[MOST_RANKS];
    const MPI_Comm all = MPI_COMM_WORLD;
    const MPI_Datatype summed = bits == 64 ? MPI_DOUBLE : MPI_FLOAT;
    for (int rank = 0; rank < ranks; ++rank) {
        counts[rank] = bytes;
        starts[rank] = rank * bytes;
    }
    if (!strcmp(kind, "gather"))
        MPI_Gather(send, bytes, MPI_BYTE, receive, bytes, MPI_BYTE, 0, all);
    else if (!strcmp(kind, "gatherv"))
        MPI_Gatherv(send, bytes, MPI_BYTE, receive, counts, starts, MPI_BYTE, 0, all);
    else if (!strcmp(kind, "allgather"))
        MPI_Allgather(send, bytes, MPI_BYTE, receive, bytes, MPI_BYTE, all);
    else if (!strcmp(kind, "allgatherv"))
        MPI_Allgatherv(send, bytes, MPI_BYTE, receive, counts, starts, MPI_BYTE, all);
    else if (!strcmp(kind, "reduce"))
        MPI_Reduce(send, receive, 8 * bytes / bits, summed, MPI_SUM, 0, all);
    else if (!strcmp(kind, "allreduce"))
        MPI_Allreduce(send, receive, 8 * bytes / bits, summed, MPI_SUM, all);
    else
        MPI_Abort(all, 2);
}

int main(int argc, char **argv)
{
    int rank, ranks, up, bits, down, repetitions;
    char kind[32];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    FILE *cases = argc == 3 ? fopen(argv[1], "r") : NULL;
    FILE *results = cases && rank == 0 ? fopen(argv[2], "w") : cases;
    if (!results || ranks > MOST_RANKS)
        MPI_Abort(MPI_COMM_WORLD, 2);
    while (fscanf(cases, "%31s %d %d %d %d", kind, &up, &bits, &down, &repetitions) == 5) {
        char *send = calloc((size_t)up + 8, 1), *receive = calloc((size_t)up * ranks + 8, 1);
        char *model = calloc((size_t)down + 8, 1);
        double *taken = calloc((size_t)repetitions + 1, sizeof *taken);
        if (!send || !receive || !model || !taken)
            MPI_Abort(MPI_COMM_WORLD, 1);
        for (int i = -WARM_UP; i < repetitions; ++i) {
            MPI_Barrier(MPI_COMM_WORLD);
            const double begun = MPI_Wtime();
            collective(kind, up, bits, ranks, send, receive);
            if (down > 0)
                MPI_Bcast(model, down, MPI_BYTE, 0, MPI_COMM_WORLD);
            if (i >= 0)
                taken[i] = MPI_Wtime() - begun;
        }
        qsort(taken, (size_t)repetitions, sizeof *taken, ascending);
        if (rank == 0)
            fprintf(results, "%.9g\n", 1e6 * taken[(repetitions - 1) / 2]);
        free(send);
        free(receive);
        free(model);
        free(taken);
    }
    if (rank == 0)
        fclose(results);
    fclose(cases);
    MPI_Finalize();
    return 0;
}
