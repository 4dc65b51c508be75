// A conversation stored, read back and told turn by turn, with code generated from the protos: example HOST:PORT

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "turntree/v1/session.grpc.pb.h"
#include "turntree/v1/turn.grpc.pb.h"

namespace v1 = turntree::v1;

// Names a mutation, so that a repeat of it has no second effect.
std::string NewRequestId() {
  std::random_device random;
  return "cpp-" + std::to_string(random()) + "-" + std::to_string(random()) + "-" + std::to_string(random());
}

std::unique_ptr<grpc::ClientContext> Within(std::chrono::seconds timeout) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + timeout);
  return context;
}

// Ends the program with the server's reason, unless a call went well.
void Check(const grpc::Status& status) {
  if (status.ok()) return;
  google::rpc::Status sent;
  google::rpc::ErrorInfo info;
  if (sent.ParseFromString(status.error_details())) {
    for (const auto& detail : sent.details()) {
      if (detail.UnpackTo(&info)) break;
    }
  }
  throw std::runtime_error(status.error_message() + " (" + info.reason() + ")");
}

void Add(v1::SessionService::Stub& sessions, const std::string& session_id) {
  v1::AddItemsRequest request;
  request.set_session_id(session_id);
  request.set_request_id(NewRequestId());
  request.add_items(R"({"role": "user", "content": "Which city has the Golden Gate Bridge?"})");
  request.add_items(R"({"role": "assistant", "content": "San Francisco."})");
  request.add_items(R"({"role": "user", "content": "Which state is it in?"})");
  v1::AddItemsResponse response;
  Check(sessions.AddItems(Within(std::chrono::seconds(30)).get(), request, &response));
}

// An answer holds about 1 MiB; the same request with its cursor goes on.
void Print(v1::SessionService::Stub& sessions, const std::string& session_id) {
  v1::GetItemsRequest request;
  request.set_session_id(session_id);
  v1::GetItemsResponse response;
  do {
    Check(sessions.GetItems(Within(std::chrono::seconds(30)).get(), request, &response));
    for (const auto& item : response.delta().items()) std::cout << item << "\n";
    request.set_cursor(response.delta().cursor());
    *request.mutable_branch() = response.delta().branch();
  } while (response.delta().more());
}

void PrintTurns(v1::TurnService::Stub& turns, const std::string& session_id) {
  v1::StreamTurnsRequest request;
  request.set_session_id(session_id);
  grpc::ClientContext context;
  auto stream = turns.StreamTurns(&context, request);
  v1::StreamTurnsResponse part;
  while (stream->Read(&part)) {
    for (const auto& turn : part.turns()) {
      std::cout << "turn " << turn.turn() << " has " << turn.items_size() << " items\n";
    }
  }
  Check(stream->Finish());
}

int main(int count, char** arguments) {
  const std::string address = count > 1 ? arguments[1] : "localhost:50051";
  auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  auto sessions = v1::SessionService::NewStub(channel);
  auto turns = v1::TurnService::NewStub(channel);
  try {
    Add(*sessions, "cpp example");
    Print(*sessions, "cpp example");
    PrintTurns(*turns, "cpp example");
    Print(*sessions, " ");
  } catch (const std::exception& error) {
    std::cout << "refused: " << error.what() << "\n";
  }
}
