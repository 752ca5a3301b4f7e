// SPDX-License-Identifier: Apache-2.0
// hnswlib's search under a filter without Python in it: compare_filtered.py compiles this and calls it.
#include "hnswlib/hnswlib.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Index {
    std::unique_ptr<hnswlib::SpaceInterface<float>> space;
    std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph;
    size_t d;
};

// Bit i % 8 of byte i / 8: whether row i passes.
struct Bits : hnswlib::BaseFilterFunctor {
    const uint8_t *bits;

    explicit Bits(const uint8_t *b) : bits(b)
    {
    }
    bool operator()(hnswlib::labeltype row) override
    {
        return bits[row / 8] >> row % 8 & 1;
    }
};

} // namespace

extern "C" void *hnsw_filter_load(const char *path, size_t d, int is_l2)
{
    auto index = std::make_unique<Index>();
    index->d = d;
    if (is_l2)
        index->space = std::make_unique<hnswlib::L2Space>(d);
    else
        index->space = std::make_unique<hnswlib::InnerProductSpace>(d);
    index->graph = std::make_unique<hnswlib::HierarchicalNSW<float>>(index->space.get(), std::string(path));
    return index.release();
}

// Searches n queries with a bitmap each, until the time is up; the number that were searched, the first ones. ids, n x
// k, has -1 where no more was found.
extern "C" size_t hnsw_filter_search(void *opaque, size_t ef, const float *queries, size_t n, size_t k,
                                     const uint8_t *bits, size_t bitmap_bytes, int n_threads, double seconds,
                                     int64_t *ids)
{
    auto *index = static_cast<Index *>(opaque);
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    std::atomic<size_t> turn{0};
    std::vector<std::thread> threads;

    index->graph->setEf(ef);
    for (size_t i = 0; i < n * k; i++)
        ids[i] = -1;
    for (int t = 0; t < n_threads; t++) {
        threads.emplace_back([&] {
            while (std::chrono::steady_clock::now() < end) {
                const size_t i = turn++;
                if (i >= n)
                    return;
                Bits filter(bits + i * bitmap_bytes);
                auto found = index->graph->searchKnn(queries + i * index->d, k, &filter);
                for (; !found.empty(); found.pop())
                    ids[i * k + found.size() - 1] = static_cast<int64_t>(found.top().second);
            }
        });
    }
    for (auto &thread : threads)
        thread.join();
    return turn < n ? turn.load() : n;
}
