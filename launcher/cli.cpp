#include "launcher/cli.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>
#include <map>
#include <sstream>

#include "core/error.h"
#include "launcher/schema.h"
#include "launcher/version.h"

namespace llama_zero {
namespace {

constexpr std::string_view kRunSection = "llama_zero.";

constexpr const char* kDescription =
    "Fine-tunes Llama-2 models on Alpaca data from a DeepSpeed JSON config.\n"
    "Without a subcommand it trains; without model and data, the bundled tiny model on the bundled sample.\n"
    "Several ranks: mpirun -np N llama_zero ...";

constexpr const char* kFooter =
    "Examples:\n"
    "  llama_zero --max-steps 20\n"
    "  mpirun -np 8 llama_zero --config ds_config_zero3.json --model llama2-7b --data alpaca_data.json\n"
    "  llama_zero plan --config ds_config_zero3.json --model llama2-7b --ranks 8 --memory 80\n"
    "  llama_zero report\n"
    "  llama_zero eval --model runs/NAME/final --data held_out.json\n"
    "  llama_zero generate --model runs/NAME/final --instruction \"What is the capital of France?\"";

/// A flag made from a schema row. The option writes into `value`, so flags must not move: they live in a deque.
struct RunFlag {
  const SchemaKey* key;
  std::string flag;
  std::string value;
  bool truth = false;
  CLI::Option* option = nullptr;
};

std::string flag_name(std::string_view key) {
  std::string flag = "--" + std::string(key);
  std::ranges::replace(flag, '_', '-');
  return flag;
}

std::string flag_help(const SchemaKey& key) {
  std::string help(key.meaning);
  if (!key.range.empty()) help += fmt::format(" [{}]", key.range);
  if (key.default_text != "null") help += fmt::format(" (default: {})", key.default_text);
  return help;
}

/// The words as a shell reads them back, without --resume and its value.
std::string invocation_of(std::span<const char* const> words) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%";
  std::string line;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (word == "--resume") ++i;
    if (word.starts_with("--resume")) continue;
    if (!line.empty()) line += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char letter : word) line += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
    line += '\'';
  }
  return line;
}

class Parser {
 public:
  Parser() : app_(kDescription, "llama_zero") {
    app_.set_version_flag("--version", std::string("llama_zero ") + kVersion);
    app_.footer(kFooter);
    app_.require_subcommand(0, 1);
    add_train();
    add_plan();
    add_report();
    add_tokenize();
    add_generate();
    add_eval();
    add_sample();
    add_export();
    add_lab_report();
  }

  CommandLine parse(int argc, const char* const* argv) {
    // The word train changes nothing; without it, --help is the program's.
    std::vector<const char*> words(argv, argv + argc);
    result_.train.invocation = invocation_of(words);
    if (argc > 1 && std::string_view(argv[1]) == "train") words.erase(words.begin() + 1);
    try {
      app_.parse(static_cast<int>(words.size()), words.data());
    } catch (const CLI::ParseError& error) {
      return stopped(error);
    }
    result_.log_level = log::parse_level(log_level_);
    if (help_config_->count() > 0) return text_only(markdown_ ? schema_markdown() : help_config(help_config_key_));
    choose_command();
    return std::move(result_);
  }

 private:
  void add_train() {
    app_.add_option("--config", config_, "DeepSpeed JSON file; also looked up in configs/");
    for (const SchemaKey& key : schema_keys()) {
      if (key.path.starts_with(kRunSection)) add_run_flag(key);
    }
    micro_batch_ = app_.add_option("--micro-batch", micro_batch_value_,
                                   "rows of a micro-step on a rank: replaces train_micro_batch_size_per_gpu")
                       ->check(CLI::PositiveNumber);
    app_.add_option("--precision", result_.train.flags.precision,
                    "storage where the config says \"auto\" or nothing [fp16|bf16|fp32]")
        ->check(CLI::IsMember({"fp16", "bf16", "fp32"}));
    app_.add_option("--set", sets_, "key=value over any key of the config, e.g. zero_optimization.stage=2");
    app_.add_flag("--plan", result_.train.plan, "print the memory table and stop");
    help_config_ = app_.add_option("--help-config", help_config_key_, "explain a key or section of the config, or list")
                       ->expected(0, 1);
    app_.add_flag("--markdown", markdown_, "with --help-config: every key, as the page docs/config.md")
        ->needs(help_config_);
    app_.add_flag("--print-config", result_.train.print_config,
                  "print every value of the resolved config and where it comes from, and stop");
    add_log_level(app_);
    app_.add_subcommand("train", "train a model (the default)")->fallthrough();
  }

  void add_run_flag(const SchemaKey& key) {
    RunFlag& flag = run_flags_.emplace_back(RunFlag{&key, flag_name(key.name()), {}});
    if (key.type == ValueType::kBool) {
      const std::string names = fmt::format("{},!--no-{}", flag.flag, flag.flag.substr(2));
      flag.option = app_.add_flag(names, flag.truth, flag_help(key));
    } else {
      flag.option = app_.add_option(flag.flag, flag.value, flag_help(key));
    }
  }

  // What describes the run are the options of training: they fall through to them.
  void add_plan() {
    CLI::App* app = add_subcommand(Command::kPlan, "plan", "predict the memory of a run, without GPU, ranks or data");
    app->fallthrough();
    app->footer(
        "Every option of training describes the run: --config, --model, --micro-batch, --sequence-length, "
        "--device, --set, ...");
    PlanArguments& arguments = result_.plan;
    app->add_option("--ranks", arguments.ranks, "ranks of the run (default: those that mpirun started)")
        ->check(CLI::Range(1, 1 << 20));
    app->add_option("--ranks-per-host", arguments.ranks_per_host,
                    "ranks that share a host's memory (default: the most that divide the ranks, at most 8)")
        ->check(CLI::PositiveNumber);
    app->add_option("--memory", arguments.memory_gb,
                    "GB for each rank: says whether it fits (default: of this machine's device)")
        ->check(CLI::PositiveNumber);
    app->add_flag("--compare", arguments.compare, "one table: every stage and offload, on 1, 2, 4 and 8 ranks");
  }

  void add_report() {
    add_subcommand(Command::kReport, "report", "versions, hardware and limits of this installation; what is missing");
  }

  void add_tokenize() {
    CLI::App* app = add_subcommand(Command::kTokenize, "tokenize", "build the token file of an Alpaca file");
    app->add_option("--data", result_.tokenize.data, "Alpaca JSON or JSON lines")->required();
    app->add_option("--tokenizer", result_.tokenize.tokenizer, "tokenizer.model (default: the bundled one)");
    app->add_option("--sequence-length", result_.tokenize.sequence_length, "longest example in tokens")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
  }

  void add_generate() {
    CLI::App* app = add_subcommand(Command::kGenerate, "generate", "answer one instruction");
    GenerateArguments& arguments = result_.generate;
    add_model(*app, arguments.model);
    CLI::Option* instruction = app->add_option("--instruction", arguments.instruction, "what to do");
    CLI::Option* input = app->add_option("--input", arguments.input, "what to do it with");
    CLI::Option* prompt = app->add_option("--prompt", arguments.prompt, "raw text to continue, without the template");
    CLI::Option* ids = app->add_option("--prompt-ids", arguments.prompt_ids, "token ids to continue, as 1,2,3");
    ids->delimiter(',')->check(CLI::NonNegativeNumber);
    app->add_flag("--print-ids", arguments.print_ids,
                  "answer with token ids; after --prompt-ids no tokenizer is needed");
    prompt->excludes(instruction)->excludes(input);
    ids->excludes(instruction)->excludes(input)->excludes(prompt);
    input->needs(instruction);
    app->add_option("--max-new-tokens", arguments.max_new_tokens, "longest answer")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app->add_option("--temperature", arguments.temperature, "0: greedy")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app->add_option("--top-p", arguments.top_p, "sample from the likeliest tokens of this total probability")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 1.0));
    app->parse_complete_callback([instruction, prompt, ids, &arguments] {
      if (instruction->count() + prompt->count() + ids->count() == 0) {
        throw CLI::RequiredError("--instruction, --prompt or --prompt-ids");
      }
      arguments.model.without_tokenizer = ids->count() > 0 && arguments.print_ids;
    });
  }

  void add_eval() {
    CLI::App* app = add_subcommand(Command::kEval, "eval", "loss and exact match of a model on an Alpaca file");
    EvalArguments& arguments = result_.eval;
    add_model(*app, arguments.model);
    CLI::Option* data =
        app->add_option("--data", arguments.data, "Alpaca JSON or JSON lines (default: the bundled held-out prompts)");
    CLI::Option* ids =
        app->add_option("--ids", arguments.ids,
                        "JSON lines of token ids, [1, 2, 3] or {\"ids\": [1, 2, 3], \"prompt\": 2}: loss "
                        "alone, without a tokenizer");
    ids->excludes(data);
    app->add_option("--limit", arguments.limit, "only the first rows (default: all)")->check(CLI::PositiveNumber);
    ids->excludes(app->add_option("--show", arguments.show, "print this many questions with answers")
                      ->check(CLI::NonNegativeNumber));
    app->add_option("--sequence-length", arguments.sequence_length, "longest example in tokens")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app->add_option("--max-new-tokens", arguments.max_new_tokens,
                    "longest answer (default: what the longest expected output needs)")
        ->check(CLI::PositiveNumber);
    app->add_option("--json", arguments.json, "write the figures to this file");
    ids->excludes(
        app->add_option("--min-exact-match", arguments.min_exact_match, "exit code 1 below this mean, in percent")
            ->check(CLI::Range(0.0, 100.0)));
    ids->excludes(
        app->add_option("--min-family", arguments.min_family, "exit code 1 when a family is below this, in percent")
            ->check(CLI::Range(0.0, 100.0)));
    app->parse_complete_callback([&arguments] { arguments.model.without_tokenizer = !arguments.ids.empty(); });
  }

  void add_sample() {
    CLI::App* app = add_subcommand(Command::kSample, "sample", "write the bundled sample as Alpaca files");
    app->add_option("--output", result_.sample.output, "folder for train.jsonl and held_out.jsonl")->required();
  }

  void add_export() {
    CLI::App* app = add_subcommand(Command::kExport, "export", "write a checkpoint as a Hugging Face folder");
    ExportArguments& arguments = result_.export_model;
    app->add_option("--checkpoint", arguments.checkpoint, "checkpoint, or run folder: its newest one")->required();
    app->add_option("--output", arguments.output, "folder of the model")->required();
    app->add_option("--export-dtype", arguments.dtype, "storage [fp32|fp16|bf16] (default: as the run would export)")
        ->check(CLI::IsMember({"fp32", "fp16", "bf16"}));
    app->add_option("--max-shard-size", arguments.max_shard_size, "largest weight file")->capture_default_str();
  }

  void add_lab_report() {
    CLI::App* app = add_subcommand(Command::kLabReport, "lab-report", "tables and one page of the runs of `make lab`");
    app->add_option("--input", result_.lab_report.input, "folder of the runs")->capture_default_str();
    app->add_option("--output", result_.lab_report.output, "the page (default: lab.html in that folder)");
  }

  void add_model(CLI::App& app, ModelArguments& arguments) {
    app.add_option("--model", arguments.model, "Hugging Face folder, or a preset with random weights")->required();
    app.add_option("--tokenizer", arguments.tokenizer, "tokenizer.model (default: the folder's, else the bundled one)");
    app.add_option("--dtype", arguments.dtype, "storage [fp32|fp16|bf16] (default: the folder's own)")
        ->check(CLI::IsMember({"fp32", "fp16", "bf16"}));
    app.add_option("--device", arguments.device, "where to compute [auto|cpu|cuda]")
        ->transform(CLI::CheckedTransformer(std::map<std::string, DeviceChoice>{
            {"auto", DeviceChoice::kAuto}, {"cpu", DeviceChoice::kCpu}, {"cuda", DeviceChoice::kCuda}}));
    app.add_option("--seed", arguments.seed, "random weights of a preset, and sampling")->capture_default_str();
  }

  CLI::App* add_subcommand(Command command, const char* name, const char* description) {
    CLI::App* app = app_.add_subcommand(name, description);
    add_log_level(*app);
    app->final_callback([this, command] { result_.command = command; });
    return app;
  }

  void add_log_level(CLI::App& app) {
    app.add_option("--log-level", log_level_, "debug, info, warning, error or critical")
        ->capture_default_str()
        ->check(CLI::IsMember({"debug", "info", "warning", "error", "critical"}));
  }

  // Options of training before another subcommand would be ignored: they are refused.
  void choose_command() {
    if (result_.command == Command::kTrain || result_.command == Command::kPlan) {
      collect_train();
      result_.plan.train = result_.train;
      return;
    }
    for (const CLI::Option* option : app_.get_options()) {
      require(option->count() == 0 || option->get_name() == "--log-level", "{} belongs to training, not to '{}'",
              option->get_name(), app_.get_subcommands().front()->get_name());
    }
  }

  void collect_train() {
    TrainArguments& train = result_.train;
    if (!config_.empty()) train.config = config_;
    for (const std::string& text : sets_) train.flags.overrides.push_back(parse_set(text));
    for (const RunFlag& flag : run_flags_) {
      if (flag.option->count() == 0) continue;
      const bool is_bool = flag.key->type == ValueType::kBool;
      const std::string value = !is_bool ? flag.value : flag.truth ? "true" : "false";
      const bool verbatim = flag.key->type == ValueType::kString;
      train.flags.overrides.push_back({std::string(flag.key->path), value, flag.flag, verbatim});
    }
    if (app_.get_option("--log-level")->count() > 0) {
      train.flags.overrides.push_back({"log_level", log_level_, "--log-level", true});
    }
    if (micro_batch_->count() > 0) {
      const std::string value = fmt::format("{}", micro_batch_value_);
      train.flags.overrides.push_back({"train_micro_batch_size_per_gpu", value, "--micro-batch", false});
    }
  }

  // Help and version end parsing by an exception with exit code 0.
  CommandLine stopped(const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) {
      std::string message = error.what();
      std::ranges::replace(message, '\n', ' ');
      fail("{} (see llama_zero --help)", message);
    }
    std::ostringstream text;
    app_.exit(error, text, text);
    return text_only(text.str());
  }

  CommandLine text_only(std::string text) {
    CommandLine line;
    line.command = Command::kPrintText;
    line.text = std::move(text);
    if (!line.text.ends_with('\n')) line.text += '\n';
    return line;
  }

  CLI::App app_;
  CommandLine result_;
  std::string log_level_ = "info";
  std::string config_, help_config_key_;
  std::int64_t micro_batch_value_ = 0;
  std::vector<std::string> sets_;
  bool markdown_ = false;
  std::deque<RunFlag> run_flags_;
  CLI::Option* micro_batch_ = nullptr;
  CLI::Option* help_config_ = nullptr;
};

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) { return Parser().parse(argc, argv); }

}  // namespace llama_zero
